"""Reads arrays of other frameworks; every message names the key."""

from collections.abc import Mapping
from typing import Any

import numpy as np


class StateDictReader:
    """Takes arrays by name, and refuses at the end those that were not taken.

    Args:
      state_dict: Names to PyTorch tensors, NumPy or JAX arrays.

    Raises:
      ValueError: It is no mapping.
    """

    def __init__(self, state_dict: Mapping[str, Any]):
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"state_dict: expected a mapping of names to arrays, got {type(state_dict).__name__}")
        self._rest = dict(state_dict)

    def names(self) -> list[str]:
        """The names that have not been taken yet."""
        return [str(name) for name in self._rest]

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array of this name, in at least float32; ValueError if it is missing or has another shape."""
        if name not in self._rest:
            raise ValueError(f"state_dict: expected a key {name!r}, which is missing")
        array = as_floats(f"state_dict[{name!r}]", self._rest.pop(name))
        if array.shape != shape:
            raise ValueError(f"state_dict[{name!r}]: expected shape {list(shape)}, got {list(array.shape)}")
        return array

    def finish(self) -> None:
        """ValueError if something was not taken."""
        if self._rest:
            names = ", ".join(repr(name) for name in self._rest)
            raise ValueError(f"state_dict: unexpected keys, which this module has no place for: {names}")


def as_floats(name: str, value: Any) -> np.ndarray:
    """A PyTorch tensor, NumPy or JAX array, in at least float32; ValueError if its numbers are no floats."""
    if hasattr(value, "detach"):  # a PyTorch tensor, known by its methods: torch need not be installed
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # which NumPy cannot take; float32 holds it exactly
            value = value.float()
        value = value.numpy()
    array = np.asarray(value)
    # bfloat16 is NumPy's through ml_dtypes, where its kind is "V", void.
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name}: expected floating-point numbers, got {array.dtype}")
    return array if array.dtype.itemsize >= 4 else array.astype(np.float32)
