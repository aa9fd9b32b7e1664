"""All that step and loop know of an application: what is minimised, what is measured, and how it is shown."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import Array

Sums = dict[str, Any]  # by name: numbers or arrays that add up over batches, hosts and restarts


class Metric(NamedTuple):
    """A number that is computed from sums.

    Attributes:
      of: Computes it; NaN where nothing was counted.
      unit: What it is shown in: "nats", or "%" for a share, which is shown times 100.
      digits: Digits after the point.
      higher_is_better: Which of two values is the better one.
      log_scale: Whether charts draw it on a logarithmic axis.
    """

    of: Callable[[Sums], float]
    unit: str = ""
    digits: int = 4
    higher_is_better: bool = False
    log_scale: bool = False

    @property
    def scale(self) -> int:
        """What the value is multiplied by where it is shown."""
        return 100 if self.unit == "%" else 1

    def show(self, value: float) -> str:
        """The value as text."""
        return f"{self.scale * value:,.{self.digits}f}{' %' if self.unit == '%' else ''}"


class Measured(NamedTuple):
    """A training batch after the model.

    Attributes:
      loss: What is minimised, summed over the batch; a scalar. It is divided by the sum called "count".
      sums: What is reported, by name; "count" is among them.
      carry: What the next training step is given: a pytree of arrays `[rows, ...]`.
    """

    loss: Array
    sums: Sums
    carry: Any = ()


class Task(NamedTuple):
    """What a step minimises and what is measured.

    Attributes:
      train: The network, the arrays of a batch, weights `[rows]`, the carry of the step before and random streams to
        `Measured`. Filler rows, whose weight is 0, must change nothing.
      evaluate: The network, arrays and weights to sums, "count" among them, and outputs: a pytree of arrays
        `[rows, ...]` and `Padded`.
      metrics: By name; "loss" is among them.
      unit: What the sum called "count" counts, in the plural: "examples", "words". The loss is a mean over it.
      score: One example and its output, both as NumPy arrays without padding, to more sums: what cannot be computed on
        the device, such as spans or edits. None: there is nothing to add.
      select: The validation metric that decides which checkpoint is the best.
      initial_carry: The network and the number of rows to the carry of the first step.
    """

    train: Callable[[Any, Mapping[str, Any], Array, Any, nnx.Rngs], Measured]
    evaluate: Callable[[Any, Mapping[str, Any], Array], tuple[Sums, Any]]
    metrics: Mapping[str, Metric]
    unit: str = "examples"
    score: Callable[[Mapping[str, np.ndarray], Any], Sums] | None = None
    select: str = "loss"
    initial_carry: Callable[[Any, int], Any] = lambda network, num_rows: ()

    def measure(self, sums: Sums) -> dict[str, float]:
        """The metrics that something was counted for, by name."""
        values = {name: float(metric.of(sums)) for name, metric in self.metrics.items()}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def describe(self, sums: Sums) -> str:
        """The metrics in words."""
        return ", ".join(f"{name} {self.metrics[name].show(value)}" for name, value in self.measure(sums).items())


def mean(total: str, of: str = "count") -> Callable[[Sums], float]:
    """A metric that is the quotient of two sums; NaN where the second is missing or zero."""

    def quotient(sums: Sums) -> float:
        return sums.get(total, 0.0) / sums[of] if sums.get(of) else math.nan

    return quotient


def add(sums: Sums, more: Sums) -> Sums:
    """The sums over both, as numbers of Python and NumPy: float64 and 64 bit integers."""
    more = jax.tree.map(_widened, dict(jax.device_get(more)))
    return {name: sums[name] + value if name in sums else value for name, value in more.items()} | {
        name: value for name, value in sums.items() if name not in more
    }


def _widened(value: Any) -> Any:
    array = np.asarray(value)
    wide = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    return wide if array.ndim else wide.item()
