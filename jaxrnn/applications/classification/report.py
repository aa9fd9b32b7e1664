"""The classifier's own part of the report on a run."""

from typing import Any, NamedTuple

import numpy as np

from jaxrnn.analysis import (
    accuracy_by_length,
    brier_score,
    class_scores,
    confusion_matrix,
    most_confident_mistakes,
    reliability,
)
from jaxrnn.applications.base import Trained
from jaxrnn.applications.classification.charts import draw_accuracy_by_length, draw_confidence, draw_reliability
from jaxrnn.applications.classification.data import TextExamples
from jaxrnn.applications.classification.explain import Explanation, explain
from jaxrnn.applications.classification.predict import PACKAGE
from jaxrnn.applications.classification.task import class_probabilities
from jaxrnn.training import Evaluation
from jaxrnn.views import Section, render

NUM_MISTAKES = 10
MAX_MATRIX_CLASSES = 20  # in a confusion matrix that fits on a page
NUM_CONFUSIONS = 20  # that are listed where it does not fit


class Mistake(NamedTuple):
    """A wrong answer, explained, and the correct class."""

    label: str
    explanation: Explanation


def make_sections(trained: Trained, examples: TextExamples, evaluation: Evaluation) -> list[Section]:
    """The sections on classes, calibration, length, and the most confident mistakes."""
    labels = np.asarray(examples.columns["label"])
    probabilities = class_probabilities(np.stack(evaluation.outputs))
    is_correct = probabilities.argmax(1) == labels
    names = trained.assets.label_names
    by_length = accuracy_by_length(examples.num_tokens, is_correct)
    return [
        _section("Classes", "classes.html", **_classes(probabilities.argmax(1), labels, names)),
        _section("Calibration", "calibration.html", **_calibration(probabilities, labels)),
        _section("Length", "length.html", chart=draw_accuracy_by_length(by_length)),
        _section("Most confident mistakes", "mistakes.html", mistakes=_mistakes(trained, examples, probabilities)),
    ]


def _section(title: str, template: str, **values: Any) -> Section:
    return Section(title, render(template, package=PACKAGE, **values))


def _classes(predictions: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    confusion = confusion_matrix(labels, predictions, num_classes=len(names))
    return {
        "names": names,
        "confusion": confusion if len(names) <= MAX_MATRIX_CLASSES else None,
        "confusions": _most_frequent_confusions(confusion, names),
        "scores": list(zip(names, *class_scores(confusion), strict=True)),
    }


def _most_frequent_confusions(confusion: np.ndarray, names: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """True class, predicted class and number of texts, the most frequent pair first."""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    pairs = (divmod(int(cell), len(names)) for cell in order)
    confusions = [(names[actual], names[predicted], int(wrong[actual, predicted])) for actual, predicted in pairs]
    return [each for each in confusions if each[2]]


def _calibration(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    by_width = reliability(probabilities, labels)
    by_mass = reliability(probabilities, labels, binning="equal mass")
    confidence, is_correct = probabilities.max(1), probabilities.argmax(1) == labels
    return {
        "charts": [draw_reliability(by_width), draw_confidence(confidence, is_correct)],
        "confidence": confidence.mean(),
        "accuracy": is_correct.mean(),
        "error": by_width.expected_calibration_error,
        "error_by_mass": by_mass.expected_calibration_error,
        "brier": brier_score(probabilities, labels),
    }


def _mistakes(trained: Trained, examples: TextExamples, probabilities: np.ndarray) -> list[Mistake]:
    labels = np.asarray(examples.columns["label"])
    worst = most_confident_mistakes(probabilities, labels, count=NUM_MISTAKES)
    explanations = explain(trained, [examples.texts[int(number)] for number in worst])
    names = [trained.assets.label_names[labels[number]] for number in worst]
    return [Mistake(*each) for each in zip(names, explanations, strict=True)]
