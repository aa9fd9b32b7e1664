"""Where the right answers are, and the worst of the wrong ones."""

from typing import NamedTuple

import numpy as np

NORMAL_95 = 1.959964  # half the width of the standard normal's central 95 %


def wilson_interval(num_right: int, count: int) -> tuple[float, float]:
    """A 95 % interval of a share, which is never outside 0 to 1 (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Args:
      num_right: right answers.
      count: answers, at least 1.

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
    """Examples of lengths from `shortest` to `longest`."""

    shortest: int
    longest: int
    num_right: int
    num_examples: int

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.num_right / self.num_examples


def accuracy_by_length(lengths: np.ndarray, right: np.ndarray, *, num_bins: int = 8) -> list[AccuracyBin]:
    """Accuracy in bins of length that have about the same number of examples; equal lengths are in the same bin.

    Args:
      lengths: of each text, `[num_examples]`.
      right: whether the answer is right, `[num_examples]`.
      num_bins: bins, at most.
    """
    inner = np.arange(1, num_bins) / num_bins
    edges = np.unique(np.quantile(lengths, inner, method="inverted_cdf"))  # each the longest of its bin
    bins = np.searchsorted(edges, lengths, side="left")
    members = (bins == number for number in np.unique(bins))
    return [
        AccuracyBin(int(lengths[each].min()), int(lengths[each].max()), int(right[each].sum()), int(each.sum()))
        for each in members
    ]


def most_confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, *, count: int) -> np.ndarray:
    """The examples with a wrong answer, the most probable first; at most `count` of their numbers.

    Args:
      probabilities: of each class, `[num_examples, classes]`.
      labels: true class numbers, `[num_examples]`.
      count: the most to return.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:count]
