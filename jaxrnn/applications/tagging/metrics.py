"""Counts of spans that add up over sentences, and precision, recall and F1 of their totals."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxrnn.applications.tagging.schemes import Span


class Scores(NamedTuple):
    """Precision, recall and F1, of one type or of several together.

    Attributes:
      precision: The share of the predicted spans that are correct; NaN where none was predicted.
      recall: The share of the true spans that were predicted; NaN where there is none.
      f1: Their harmonic mean, 2 correct / (true + predicted); NaN where there are no spans on either side.
    """

    precision: float
    recall: float
    f1: float


def count_spans(true: Iterable[Span], predicted: Iterable[Span], types: Sequence[str]) -> np.ndarray:
    """Counts the spans of a sentence. A predicted span is correct if its start, its end and its type all are.

    Args:
      true: The spans of the data.
      predicted: The spans of the model.
      types: The types that are counted; all spans must have one of them.

    Returns:
      int64 `[types, 3]`: how many spans of each type are true, predicted, and correct.
    """
    rows = {span_type: row for row, span_type in enumerate(types)}
    true, predicted = set(true), set(predicted)
    counts = np.zeros((len(types), 3), np.int64)
    for column, spans in enumerate((true, predicted, true & predicted)):
        for span in spans:
            counts[rows[span.type], column] += 1
    return counts


def scores(counts: np.ndarray) -> Scores:
    """The scores of summed counts.

    Args:
      counts: Numbers of true, predicted and correct spans, `[3]`; or `[types, 3]` for the micro average, which counts
        the spans of all types together.
    """
    true, predicted, correct = (float(count) for count in np.reshape(counts, (-1, 3)).sum(0))
    return Scores(_ratio(correct, predicted), _ratio(correct, true), _ratio(2 * correct, true + predicted))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")
