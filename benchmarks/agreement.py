"""Compares the outputs of the libraries: nothing is timed unless its numbers are correct."""

from collections.abc import Mapping

import numpy as np

# Relative to the largest magnitude. A rounding error is about 6e-8 in float32, 5e-4 in TF32 and 4e-3 in bfloat16.
# Errors grow over layers and steps, and in sums over time and batch.
TOLERANCES = {"float32": 1e-4, "tensorfloat32": 2e-2, "bfloat16": 0.1}


class WrongOutputError(Exception):
    """A library computes other numbers than ours, so its time has no meaning."""


def difference(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Returns the largest difference relative to the largest magnitude of our array.

    Raises:
      WrongOutputError: The shapes differ.
    """
    if theirs.shape != ours.shape:
        raise WrongOutputError(f"expected shape {list(ours.shape)}, got {list(theirs.shape)}")
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


def check(what: str, theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray], *, precision: str) -> float:
    """Returns the largest `difference` of several arrays.

    Args:
      what: The case and the library, for the message.
      theirs: The arrays of the library, by name.
      ours: Our arrays, by the same names.
      precision: A key of `TOLERANCES`.

    Raises:
      WrongOutputError: An array differs by more than the tolerance, or is not finite.
    """
    differences = {name: difference(theirs[name], ours[name]) for name in ours}
    name, worst = max(differences.items(), key=lambda item: np.inf if np.isnan(item[1]) else item[1])
    if not worst <= TOLERANCES[precision]:
        raise WrongOutputError(
            f"{what}: {name} differ from ours by {worst:.2g} of the largest magnitude, expected at most "
            f"{TOLERANCES[precision]:.0e} in {precision}; nothing was timed"
        )
    return worst
