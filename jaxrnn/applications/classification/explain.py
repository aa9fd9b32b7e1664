"""What each word of a text has to do with a classifier's answer."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.console import Console
from rich.progress import track

from jaxrnn.analysis import integrated_gradients
from jaxrnn.applications.base import Trained
from jaxrnn.applications.classification.data import TextExamples, encode, readable
from jaxrnn.applications.classification.model import Inputs, TextClassifier
from jaxrnn.applications.classification.task import class_probabilities
from jaxrnn.data.text import Vocabulary, tokenize_with_spaces
from jaxrnn.training import Parameters


class Word(NamedTuple):
    """A token as it stands in the text.

    Attributes:
      text: Its characters.
      space: What follows it, before the next token.
      attribution: Its part in the answer, see `Explanation`; None if the model did not read it, as the text was cut.
      is_known: Whether it is in the vocabulary.
    """

    text: str
    space: str
    attribution: float | None
    is_known: bool


class Explanation(NamedTuple):
    """An answer, and what each word has to do with it.

    Attributions are differences of the predicted class's log-odds, in nats: a positive one speaks for the class, a
    negative one against it. They sum to `log_odds - baseline_log_odds`.

    Attributes:
      label: The predicted class.
      probability: That of the predicted class.
      words: The words of the text.
      log_odds: Those of the predicted class.
      baseline_log_odds: The same where every word is replaced by zeros.
      jumps: See `jaxrnn.analysis.Attribution`.
    """

    label: str
    probability: float
    words: Sequence[Word]
    log_odds: float
    baseline_log_odds: float
    jumps: float

    @property
    def largest(self) -> float:
        """The largest magnitude of an attribution, at least a tiny number."""
        return max((abs(word.attribution or 0.0) for word in self.words), default=0.0) or 1e-12

    def strongest(self, *, sign: int, count: int) -> list[Word]:
        """The words that speak most strongly for the answer (sign 1) or against it (sign -1)."""
        some = [word for word in self.words if sign * (word.attribution or 0.0) > 0 and word.text.strip()]
        return sorted(some, key=lambda word: -abs(word.attribution or 0.0))[:count]


def explain(trained: Trained, texts: Sequence[str]) -> Iterator[Explanation]:
    """Explains the answer to each text by integrated gradients of the predicted class's log-odds.

    The baseline has zeros in the place of each word's embedding, ratios and bag terms. A word's attribution is the sum
    over all of its numbers.

    Args:
      trained: A trained classifier.
      texts: What is classified.

    Yields:
      The explanations, in the order of the texts.
    """
    examples = encode(trained.config, trained.assets, texts)
    pieces = tokenize_with_spaces(readable(trained.config, texts))
    explainer = _Explainer(trained)
    numbers = track(
        range(len(texts)),
        "explaining",
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    for number in numbers:
        yield explainer.explain(examples, number, pieces[number])


class _Explainer:
    """The compiled functions that explanations need; texts of different lengths share a few of them."""

    def __init__(self, trained: Trained):
        self.trained = trained
        self._answer = jax.jit(self._answer_one)
        self._slopes = jax.jit(self._slopes_at)

    def explain(self, examples: TextExamples, number: int, pieces: Sequence[tuple[str, str]]) -> Explanation:
        """Explains the answer to one of the texts, whose tokens are given with the spaces that follow them."""
        variables = (self.trained.parameters, self.trained.split.rest)
        arrays = examples[number]
        token_ids = arrays["tokens"]
        length = jnp.int32(len(token_ids))
        padded = {name: _padded(arrays[name]) for name in ("tokens", "rows") if name in arrays}
        inputs, logits = self._answer(variables, padded, length)
        probabilities = class_probabilities(np.asarray(logits))[0]
        predicted = int(probabilities.argmax())
        attribution = integrated_gradients(partial(self._slopes, variables, inputs, length, predicted))
        words = [Word(text, space, None, is_known=True) for text, space in pieces]
        positions = examples.positions[number]
        values = attribution.values[: len(positions)]  # without the padding
        for position, value, token_id in zip(positions, values, token_ids, strict=True):
            is_known = bool(token_id != Vocabulary.unknown_id)
            words[position] = words[position]._replace(attribution=float(value), is_known=is_known)
        return Explanation(
            label=self.trained.assets.label_names[predicted],
            probability=float(probabilities[predicted]),
            words=words,
            log_odds=attribution.output,
            baseline_log_odds=attribution.baseline_output,
            jumps=attribution.jumps,
        )

    def _network(self, variables: tuple[Parameters, Any]) -> TextClassifier:
        network = self.trained.split.merge(*variables)
        network.eval()
        return network

    def _answer_one(
        self, variables: tuple[Parameters, Any], arrays: dict[str, Array], length: Array
    ) -> tuple[Inputs, Array]:
        """What the network reads of a text, `[time, 1, ...]`, and the logits `[1, outputs]`."""
        network = self._network(variables)
        rows = arrays["rows"][None] if "rows" in arrays else None
        inputs = network.embed(arrays["tokens"][None], rows=rows)
        return inputs, jnp.stack(network.answers(inputs, length[None])).mean(0)

    def _slopes_at(
        self, variables: tuple[Parameters, Any], inputs: Inputs, length: Array, predicted: Array, points: Array
    ) -> tuple[Array, Array]:
        """The log-odds at points of the line from zeros to the inputs, and each token's part in their derivative."""
        lengths, classes = (jnp.full(len(points), number) for number in (length, predicted))

        def total(line: Inputs) -> tuple[Array, Array]:
            answers = self._network(variables).answers(line, lengths)
            values = log_odds(jnp.stack(answers).mean(0), classes)
            return values.sum(), values

        line = jax.tree.map(lambda part: part * points[:, None], inputs)  # [time, points, features]
        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(line)
        parts = jax.tree.map(lambda slope, part: jnp.einsum("tpf,tf->pt", slope, part[:, 0]), gradient, inputs)
        return values, sum(jax.tree.leaves(parts), jnp.zeros(()))


def log_odds(logits: Array, classes: Array) -> Array:
    """log(p/(1 - p)) of one class's probability p for each example, `[batch]`; of two classes, plus or minus the logit.

    Args:
      logits: `[batch, classes]`, or `[batch, 1]`, the logit of class 1 of two.
      classes: Class numbers, `[batch]`.
    """
    if logits.shape[-1] == 1:
        return jnp.where(classes == 1, logits[:, 0], -logits[:, 0])
    is_class = jax.nn.one_hot(classes, logits.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(is_class, -jnp.inf, logits), axis=-1)
    return logits.max(-1, where=is_class, initial=-jnp.inf) - others


def _padded(array: np.ndarray) -> np.ndarray:
    """Pads to a power of two, so that texts of all lengths need few compilations."""
    time = 1 << max(len(array) - 1, 15).bit_length()
    widths = [(0, time - len(array)), *[(0, 0)] * (array.ndim - 1)]
    return np.pad(array, widths, constant_values=Vocabulary.pad_id)
