"""What each word of a text has to do with the answer: integrated gradients.

The attribution of an input x_i is (x_i - x'_i) times the mean of ∂F/∂x_i along the straight line from a baseline x' to
x. Attributions are complete: they sum to F(x) - F(x'), by the fundamental theorem of calculus. Source: Sundararajan,
Taly & Yan 2017, "Axiomatic Attribution for Deep Networks", arXiv:1703.01365, equation 1 and proposition 1.

Along the line a recurrent network may switch: a unit that holds one value over hundreds of steps holds another from
some point on, and F jumps within less than float32 can tell apart (seen in the quickstart's model). No number of points
integrates a gradient over a jump. So points are added where gradients do not explain what F does, and
at a jump that is left F's own difference is shared among the inputs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

ROWS = 16  # points of the line that are computed at once
NARROWEST = 1e-5  # distance of two points that is not halved any more: float32 tells few between them


class Attribution(NamedTuple):
    """Attributions `[inputs]`, and what they explain."""

    values: np.ndarray
    output: float  # F(x)
    baseline_output: float  # F(x')
    jumps: float  # share of F's ups and downs along the line that its gradients do not explain, 0 to 1


def integrated_gradients(
    slopes: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    *,
    tolerance: float = 0.01,
    max_points: int = 384,
) -> Attribution:
    """Attributions of a function's value at the end of a line to its inputs.

    By the trapezoidal rule. While the attributions of the parts of the line do not sum to F's differences, the worst
    parts are halved.

    Args:
      slopes: at `ROWS` points of the line, numbers from 0 (x') to 1 (x): F `[rows]`, and each input's part in F's
        derivative along the line, (x - x')·∂F/∂x, `[rows, inputs]`.
      tolerance: sum of what is missed in all parts, a share of |F(x) - F(x')|.
      max_points: at which what is left counts as jumps.
    """
    points = np.linspace(0, 1, ROWS)
    outputs, parts = _measure(slopes, points)
    while True:
        width, change = np.diff(points), np.diff(outputs)
        areas = width[:, None] * (parts[1:] + parts[:-1]) / 2
        missed = np.abs(change - areas.sum(1))
        allowed = tolerance * abs(outputs[-1] - outputs[0])
        worst = np.argsort(-missed)
        worst = worst[width[worst] > NARROWEST][:ROWS]
        if missed.sum() <= allowed or len(worst) == 0 or len(points) >= max_points:
            break
        worst = np.resize(worst, ROWS)  # again the worst, where there are fewer: points that are equal do no harm
        middles = (points[worst] + points[worst + 1]) / 2
        more_outputs, more_parts = _measure(slopes, middles)
        order = np.argsort(np.concatenate([points, middles]))
        points = np.concatenate([points, middles])[order]
        outputs = np.concatenate([outputs, more_outputs])[order]
        parts = np.concatenate([parts, more_parts])[order]
    # The parts that miss most, until the others are within the tolerance.
    by_missed = np.argsort(missed)
    is_jump = np.empty(len(missed), bool)
    is_jump[by_missed] = missed[by_missed].cumsum() > allowed
    weight = np.abs(areas)
    shared = change[:, None] * weight / np.maximum(weight.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    values = np.where(is_jump[:, None], shared, areas).sum(0)
    jumps = np.abs(change[is_jump]).sum() / max(np.abs(change).sum(), np.finfo(np.float64).tiny)
    return Attribution(values, float(outputs[-1]), float(outputs[0]), float(jumps))


def _measure(
    slopes: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    outputs, parts = slopes(points.astype(np.float32))
    return np.asarray(outputs, np.float64), np.asarray(parts, np.float64)


class Word(NamedTuple):
    """A token as it stands in the text."""

    text: str
    space: str  # what follows it, before the next
    attribution: float | None  # None: the model did not read it, as the text was cut
    is_known: bool  # in the vocabulary


class Explanation(NamedTuple):
    """An answer, and what each word has to do with it.

    Attributions are differences of the predicted class's log-odds, in nats: positive speaks for it, negative against.
    They sum to `log_odds - baseline_log_odds`.
    """

    label: str
    probability: float
    words: Sequence[Word]
    log_odds: float
    baseline_log_odds: float  # with the zero vector in the place of each word
    jumps: float  # see `Attribution`

    @property
    def largest(self) -> float:
        """The largest magnitude of an attribution, at least a tiny number."""
        return max((abs(word.attribution or 0.0) for word in self.words), default=0.0) or 1e-12

    def strongest(self, *, sign: int, count: int) -> list[Word]:
        """The words that speak most for the answer (sign 1) or against it (-1)."""
        some = [word for word in self.words if sign * (word.attribution or 0.0) > 0 and word.text.strip()]
        return sorted(some, key=lambda word: -abs(word.attribution or 0.0))[:count]
