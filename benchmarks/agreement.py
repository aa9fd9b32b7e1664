"""Nothing is timed before its numbers are right."""

from collections.abc import Mapping

import numpy as np

# Of the largest magnitude. Rounding is some 6e-8 in float32, 5e-4 in TF32, 4e-3 in bfloat16; it grows through the
# layers and steps, and in sums over time and batch.
TOLERANCES = {"float32": 1e-4, "tensorfloat32": 2e-2, "bfloat16": 0.1}


class WrongOutputError(Exception):
    """A library computes other numbers than ours; what it takes for that means nothing."""


def difference(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest difference, relative to the largest magnitude."""
    if theirs.shape != ours.shape:
        raise WrongOutputError(f"expected shape {list(ours.shape)}, got {list(theirs.shape)}")
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


def check(what: str, theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray], *, precision: str) -> float:
    """The largest `difference` of several arrays by name.

    Args:
      what: the case and the library, for the message.
      theirs: arrays by name.
      ours: arrays of the same names.
      precision: a key of `TOLERANCES`.

    Raises:
      WrongOutputError: one differs by more than the precision explains, or is not finite.
    """
    found = {name: difference(theirs[name], ours[name]) for name in ours}
    name, worst = max(found.items(), key=lambda item: np.inf if np.isnan(item[1]) else item[1])
    if not worst <= TOLERANCES[precision]:
        raise WrongOutputError(
            f"{what}: {name} differ from ours by {worst:.2g} of the largest magnitude, expected at most "
            f"{TOLERANCES[precision]:.0e} in {precision}; nothing was timed"
        )
    return worst
