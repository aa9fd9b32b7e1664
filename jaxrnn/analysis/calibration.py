"""Whether probabilities mean what they say: of the answers given with 80 %, are 80 % right?

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 2.
"""

from typing import Literal, NamedTuple

import numpy as np


class Reliability(NamedTuple):
    """Examples in bins of confidence, the probability of the predicted class. Empty bins are left out."""

    confidence: np.ndarray  # mean of each bin, [bins]
    accuracy: np.ndarray  # share of right answers in each bin, [bins]
    num_examples: np.ndarray  # examples of each bin, [bins]

    @property
    def expected_calibration_error(self) -> float:
        """The mean of |accuracy - confidence| over the bins, weighted by their examples (equation 3), 0 to 1."""
        return float(np.abs(self.accuracy - self.confidence) @ self.num_examples / self.num_examples.sum())


def reliability(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    num_bins: int = 15,
    binning: Literal["equal width", "equal mass"] = "equal width",
) -> Reliability:
    """Confidence and accuracy in bins of confidence.

    Args:
      probabilities: of each class, `[num_examples, classes]`.
      labels: true class numbers, `[num_examples]`.
      num_bins: bins, at most.
      binning: "equal width", as published: ((m - 1)/M, m/M]; "equal mass": the examples sorted by confidence, cut into
        parts of the same number to one. Where nearly all answers are confident, the first has most of them in one bin.
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
    """The mean squared distance between the probabilities and the truth, 0 to 2 (Brier 1950, equation 2).

    Args:
      probabilities: of each class, `[num_examples, classes]`.
      labels: true class numbers, `[num_examples]`.
    """
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(1).mean())
