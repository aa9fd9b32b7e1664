"""Answers to texts: the most probable class, and on demand what each word has to do with it."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.text import Text

from jaxrnn.applications.base import Trained
from jaxrnn.applications.classification.colours import coloured_words
from jaxrnn.applications.classification.data import encode
from jaxrnn.applications.classification.explain import Explanation, explain
from jaxrnn.applications.classification.task import class_probabilities
from jaxrnn.views import render

PACKAGE = "jaxrnn.applications.classification"  # whose folder has the templates
NUM_CHARACTERS = 80  # of a text that are printed beside its class


class ClassificationAnswer(NamedTuple):
    """The answer to one text.

    Attributes:
      text: The text.
      probabilities: That of each class, by its name.
      explanation: What each word has to do with the answer; None unless it was asked for.
    """

    text: str
    probabilities: Mapping[str, float]
    explanation: Explanation | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def line(self) -> str | Text:
        """Class, probability and the beginning of the text; or the whole text, its words coloured."""
        answer = f"{self.label}\t{self.probabilities[self.label]:.3f}"
        if self.explanation is None:
            return f"{answer}\t{' '.join(self.text.split())[:NUM_CHARACTERS]}"
        return Text(f"{answer}\n").append_text(coloured_words(self.explanation))

    def json(self) -> dict[str, Any]:
        """The same by name, with all probabilities and, if it was asked for, the attribution of each word."""
        answer = {
            "text": self.text,
            "label": self.label,
            "probability": self.probabilities[self.label],
            "probabilities": dict(self.probabilities),
        }
        if self.explanation is not None:
            answer["words"] = [[word.text, word.attribution] for word in self.explanation.words]
        return answer


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the arguments of `predict`."""
    parser.add_argument("--explain", action="store_true", help="show what each word has to do with the answer")


def classify(trained: Trained, texts: Sequence[str], *, explained: bool = False) -> Iterator[ClassificationAnswer]:
    """The answers to texts, in their order.

    Args:
      trained: The model.
      texts: What is classified.
      explained: Whether each answer has its explanation.
    """
    logits = np.stack(trained.evaluate(encode(trained.config, trained.assets, texts)).outputs)
    explanations = explain(trained, texts) if explained else iter([None] * len(texts))
    names = trained.assets.label_names
    for text, row, explanation in zip(texts, class_probabilities(logits), explanations, strict=True):
        yield ClassificationAnswer(text, dict(zip(names, map(float, row), strict=True)), explanation)


def explanations_page(trained: Trained, texts: Sequence[str]) -> str:
    """The answers to texts with the words that they rest on, as a page of HTML."""
    explanations = list(explain(trained, texts))
    return render("explanations.html", package=PACKAGE, explanations=explanations, name=trained.name)
