"""Which classes are taken for which."""

from typing import NamedTuple

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Counts of examples, `[classes, classes]`: a row for each true class, a column for each predicted one.

    Args:
      labels: true class numbers, `[num_examples]`.
      predictions: predicted class numbers, `[num_examples]`.
      num_classes: classes, also those that no example has.
    """
    cells = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


class ClassScores(NamedTuple):
    """How well each class is told from the others, each `[classes]`; 0 where a quotient is 0/0."""

    precision: np.ndarray  # of those predicted to be of the class, the share that is
    recall: np.ndarray  # of those of the class, the share that was predicted to be
    f1: np.ndarray  # their harmonic mean
    num_examples: np.ndarray  # examples of the class


def class_scores(confusion: np.ndarray) -> ClassScores:
    """Scores of each class from a confusion matrix."""
    right, actual, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return ClassScores(_share(right, predicted), _share(right, actual), _share(2 * right, predicted + actual), actual)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)
