"""The confusion matrix, and each class's precision and recall."""

from typing import NamedTuple

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Counts the examples of each true class (rows) and predicted class (columns), int `[classes, classes]`.

    Args:
      labels: The true class numbers, `[num_examples]`.
      predictions: The predicted class numbers, `[num_examples]`.
      num_classes: The number of classes, including those without examples.
    """
    cells = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


class ClassScores(NamedTuple):
    """How well each class is distinguished from the others. A quotient 0/0 counts as 0.

    Attributes:
      precision: The fraction of correct ones among the examples predicted to be of the class, `[classes]`.
      recall: The fraction of correctly predicted ones among the examples of the class, `[classes]`.
      f1: The harmonic mean of both, `[classes]`.
      num_examples: The number of examples of the class, `[classes]`.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    num_examples: np.ndarray


def class_scores(confusion: np.ndarray) -> ClassScores:
    """Computes the scores of each class from a confusion matrix `[classes, classes]`."""
    right, actual, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return ClassScores(_share(right, predicted), _share(right, actual), _share(2 * right, predicted + actual), actual)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)
