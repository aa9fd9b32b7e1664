"""Calibration: of the answers that are given with a probability of 80 %, are 80 % correct?

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 2.
"""

from typing import Literal, NamedTuple

import numpy as np


class Reliability(NamedTuple):
    """Examples in bins of confidence, which is the probability of the predicted class. Empty bins are left out.

    Attributes:
      confidence: The mean confidence in each bin, `[bins]`.
      accuracy: The fraction of correct answers in each bin, `[bins]`.
      num_examples: The number of examples in each bin, `[bins]`.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    num_examples: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """The mean of |accuracy - confidence| over the bins, weighted by their examples (equation 3), from 0 to 1."""
        return float(np.abs(self.accuracy - self.confidence) @ self.num_examples / self.num_examples.sum())


def reliability(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    num_bins: int = 15,
    binning: Literal["equal width", "equal mass"] = "equal width",
) -> Reliability:
    """Computes confidence and accuracy in bins of confidence.

    Args:
      probabilities: The probability of each class, `[num_examples, classes]`.
      labels: The true class numbers, `[num_examples]`.
      num_bins: The most bins to return.
      binning: "equal width" uses the published bins ((m - 1)/M, m/M], of which the last has most of the examples if
        nearly all answers are confident. "equal mass" divides the examples, sorted by confidence, into bins whose sizes
        differ by at most one.
    """
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    if binning == "equal width":
        edges = np.arange(1, num_bins) / num_bins
        bins = np.searchsorted(edges, confidence, side="left")
    else:
        rank = np.argsort(np.argsort(confidence, kind="stable"))
        bins = rank * num_bins // len(rank)
    count = np.bincount(bins, minlength=num_bins)
    filled = count > 0
    mean_confidence, accuracy = (
        np.bincount(bins, weights=values, minlength=num_bins)[filled] / count[filled] for values in (confidence, right)
    )
    return Reliability(mean_confidence, accuracy, count[filled])


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean squared distance of the probabilities from the one-hot truth, 0 to 2 (Brier 1950, equation 2).

    Args:
      probabilities: The probability of each class, `[num_examples, classes]`.
      labels: The true class numbers, `[num_examples]`.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(1).mean())
