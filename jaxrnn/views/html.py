"""Pages of HTML that stand alone: no script, and nothing is fetched; whatever comes from data is escaped."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2
import numpy as np

from jaxrnn.analysis import (
    Explanation,
    accuracy_by_length,
    brier_score,
    class_scores,
    confusion_matrix,
    reliability,
)
from jaxrnn.views import charts

MAX_MATRIX_CLASSES = 20  # of a confusion matrix that fits on a page
NUM_CONFUSIONS = 20  # listed where it does not

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("jaxrnn.views"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["percent"] = lambda share: f"{100 * share:.1f}"


class Mistake(NamedTuple):
    """A wrong answer, and the right one."""

    label: str
    explanation: Explanation


class Answers(NamedTuple):
    """A model's answers to the texts of a split."""

    split: str
    label_names: Sequence[str]
    labels: np.ndarray  # true class numbers, [num_texts]
    probabilities: np.ndarray  # of each class, [num_texts, classes]
    lengths: np.ndarray  # tokens of each text, also those that were not read, [num_texts]
    loss: float  # mean negative log-likelihood, in nats
    mistakes: Sequence[Mistake]  # the most confident


class Report(NamedTuple):
    """What a report shows of a run."""

    name: str
    model: str  # in a few words
    notes: Sequence[str]  # what the reader should know before the numbers
    facts: Sequence[tuple[str, str]]  # what was run, on what, for how long
    records: Sequence[dict[str, Any]]  # of metrics.jsonl
    best_step: int | None
    answers: Answers | None  # None: there is no checkpoint yet
    config: str


def report_page(report: Report) -> str:
    """The report of a run as one HTML file."""
    learning = []
    if report.records:
        learning = [
            charts.draw_learning(report.records, key, best_step=report.best_step) for key in ("loss", "accuracy")
        ]
    shown = {} if report.answers is None else _examine(report.answers)
    return _templates.get_template("report.html").render(report=report, learning=learning, **shown)


def explanations_page(explanations: Sequence[Explanation], *, name: str) -> str:
    """Answers with the words that they rest on, as one HTML file.

    Args:
      explanations: what to show.
      name: of the run.
    """
    return _templates.get_template("explanations.html").render(explanations=explanations, name=name)


def _examine(answers: Answers) -> dict[str, Any]:
    """What the template shows of answers."""
    probabilities, labels = answers.probabilities, answers.labels
    predictions = probabilities.argmax(1)
    right = predictions == labels
    confusion = confusion_matrix(labels, predictions, num_classes=len(answers.label_names))
    by_width = reliability(probabilities, labels)
    by_mass = reliability(probabilities, labels, binning="equal mass")
    return {
        "answers": answers,
        "accuracy": right.mean(),
        "confidence": probabilities.max(1).mean(),
        "confusion": confusion if len(confusion) <= MAX_MATRIX_CLASSES else None,
        "confusions": _most_frequent_confusions(confusion, answers.label_names),
        "scores": list(zip(answers.label_names, *class_scores(confusion), strict=True)),
        "calibration_error": by_width.expected_calibration_error,
        "calibration_error_by_mass": by_mass.expected_calibration_error,
        "brier": brier_score(probabilities, labels),
        "calibration": [charts.draw_reliability(by_width), charts.draw_confidence(probabilities.max(1), right)],
        "by_length": charts.draw_accuracy_by_length(accuracy_by_length(answers.lengths, right)),
    }


def _most_frequent_confusions(confusion: np.ndarray, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """True class, predicted class and count, the most frequent first."""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    pairs = (divmod(int(cell), len(names)) for cell in order)
    found = [(names[actual], names[predicted], int(wrong[actual, predicted])) for actual, predicted in pairs]
    return [each for each in found if each[2]]
