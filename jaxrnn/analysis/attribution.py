"""Integrated gradients: how much each input contributes to the output of a differentiable function.

The attribution of an input x_i is (x_i - x'_i) times the mean of ∂F/∂x_i along the straight line from a baseline x' to
x. Attributions are complete: they sum to F(x) - F(x'), by the fundamental theorem of calculus. Source: Sundararajan,
Taly & Yan 2017, "Axiomatic Attribution for Deep Networks", arXiv:1703.01365, equation 1 and proposition 1.

Along the line a recurrent network may switch: a unit that holds one value over hundreds of steps holds another one from
some point on, and F jumps within a distance that float32 cannot resolve (observed in the quickstart's model). No number
of points makes the integral of the gradient include a jump. So points are added where the gradients do not explain how
F changes, and the change of F at a remaining jump is divided among the inputs.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ROWS = 16  # the number of points of the line that are computed at once
NARROWEST = 1e-5  # intervals below this width are not halved any more, because float32 has few numbers in them


class Attribution(NamedTuple):
    """Attributions, and what they explain.

    Attributes:
      values: The attribution of each input, `[inputs]`.
      output: F(x).
      baseline_output: F(x').
      jumps: The share of F's total variation along the line that its gradients do not explain, from 0 to 1.
    """

    values: np.ndarray
    output: float
    baseline_output: float
    jumps: float


def integrated_gradients(
    slopes: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    *,
    tolerance: float = 0.01,
    max_points: int = 384,
) -> Attribution:
    """Attributes a function's value at the end of a line to its inputs.

    The integral is computed by the trapezoidal rule. As long as the attributions of the intervals between the points do
    not sum to the changes of F, the worst intervals are halved.

    Args:
      slopes: Computes at `ROWS` points of the line, numbers from 0 (x') to 1 (x), the function F `[rows]` and each
        input's part in F's derivative along the line, (x - x')·∂F/∂x, `[rows, inputs]`.
      tolerance: The largest error, summed over all intervals, as a fraction of |F(x) - F(x')|.
      max_points: The number of points after which no more are added, and the remaining errors count as jumps.
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
        worst = np.resize(worst, ROWS)  # repeats them if there are fewer; equal points do no harm
        middles = (points[worst] + points[worst + 1]) / 2
        more_outputs, more_parts = _measure(slopes, middles)
        order = np.argsort(np.concatenate([points, middles]))
        points = np.concatenate([points, middles])[order]
        outputs = np.concatenate([outputs, more_outputs])[order]
        parts = np.concatenate([parts, more_parts])[order]
    # The intervals with the largest errors are jumps, as many as needed for the others to be within the tolerance.
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
