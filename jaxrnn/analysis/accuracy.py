"""Accuracy by length, intervals of accuracies, and the most confident mistakes."""

from typing import NamedTuple

import numpy as np

NORMAL_95 = 1.959964  # 95 % of a standard normal variable is within this distance of 0


def wilson_interval(num_right: int, count: int) -> tuple[float, float]:
    """Returns a 95 % confidence interval of a fraction, which is always within 0 and 1.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Args:
      num_right: Number of correct answers.
      count: Number of answers, at least 1.

    Example:
      >>> low, high = wilson_interval(9, 10)
      >>> round(low, 3), round(high, 3)
      (0.596, 0.982)
    """
    share, z2 = num_right / count, NORMAL_95**2
    centre = share + z2 / (2 * count)
    half = NORMAL_95 * (share * (1 - share) / count + z2 / (4 * count**2)) ** 0.5
    return (centre - half) / (1 + z2 / count), (centre + half) / (1 + z2 / count)


class AccuracyBin(NamedTuple):
    """The examples with lengths from `shortest` to `longest`.

    Attributes:
      shortest: The shortest length in the bin.
      longest: The longest length in the bin.
      num_right: The number of correct answers.
      num_examples: The number of examples.
    """

    shortest: int
    longest: int
    num_right: int
    num_examples: int

    @property
    def accuracy(self) -> float:
        """The fraction of correct answers, from 0 to 1."""
        return self.num_right / self.num_examples


def accuracy_by_length(lengths: np.ndarray, right: np.ndarray, *, num_bins: int = 8) -> list[AccuracyBin]:
    """Computes the accuracy in bins of length with about equally many examples; equal lengths share a bin.

    Args:
      lengths: The length of each example, `[num_examples]`.
      right: Whether each answer is correct, `[num_examples]`.
      num_bins: The most bins to return.
    """
    inner = np.arange(1, num_bins) / num_bins
    edges = np.unique(np.quantile(lengths, inner, method="inverted_cdf"))  # the longest length of each bin
    bins = np.searchsorted(edges, lengths, side="left")
    masks = (bins == number for number in np.unique(bins))
    return [
        AccuracyBin(int(lengths[mask].min()), int(lengths[mask].max()), int(right[mask].sum()), int(mask.sum()))
        for mask in masks
    ]


def most_confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, *, count: int) -> np.ndarray:
    """Returns the numbers of the examples with a wrong answer, the most probable answer first.

    Args:
      probabilities: The probability of each class, `[num_examples, classes]`.
      labels: The true class numbers, `[num_examples]`.
      count: The most examples to return.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:count]
