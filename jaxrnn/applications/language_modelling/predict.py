"""How well a trained language model predicts texts."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.applications.base import Trained
from jaxrnn.applications.language_modelling.data import encode_texts


class TextScore(NamedTuple):
    """How well a text was predicted.

    Attributes:
      text: The text.
      num_words: Number of words that were predicted, the text's end among them.
      loss: Mean of -log p over these words, in nats.
    """

    text: str
    num_words: int
    loss: float

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(min(self.loss, 700.0))

    def line(self) -> str:
        """Perplexity, number of words and text, in columns."""
        unit = "word " if self.num_words == 1 else "words"
        return f"{self.perplexity:>10,.1f}  {self.num_words:>5,} {unit}  {' '.join(self.text.split())}"

    def json(self) -> dict[str, Any]:
        """The same by name, with the loss."""
        return {"text": self.text, "words": self.num_words, "loss": self.loss, "perplexity": self.perplexity}


def score_texts(trained: Trained, texts: Sequence[str]) -> Iterator[TextScore]:
    """The scores of texts, in their order."""
    yield from scores_of(texts, trained.evaluate(encode_texts(trained.config, trained.assets, texts)).outputs)


def scores_of(texts: Sequence[str], outputs: Sequence[np.ndarray]) -> Iterator[TextScore]:
    """The scores of texts from the log-probabilities of their words, which an evaluation returns."""
    for text, log_p in zip(texts, outputs, strict=True):
        yield TextScore(text, len(log_p), -float(log_p.mean(dtype=np.float64)))
