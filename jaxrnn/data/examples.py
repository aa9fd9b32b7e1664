"""Examples and batches: named arrays, whatever an application calls them.

An example is a mapping of names to arrays. A column holds one of these arrays for every example: either `Ragged`, a
sequence with a length of its own in each example, or one array whose first axis is the example. A batch has the same
names; its ragged columns are padded to one length.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Padded(NamedTuple):
    """Sequences of different lengths in one array.

    Attributes:
      values: `[rows, time, ...]`, padded at the end of each row.
      lengths: int32 `[rows]`, the steps of each row before the padding.
    """

    values: Any
    lengths: Any


Arrays = Mapping[str, Padded | np.ndarray]


class Batch(NamedTuple):
    """Padded examples. The last rows may be filler: length 0, all padding, weight 0, index -1.

    Attributes:
      arrays: The columns by name, those rows of them that this host was asked to build.
      weights: float32 `[rows]`, 1 for an example and 0 for filler.
      indices: int64 `[batch]`, the place in the data of every row of the whole batch, -1 for filler.
    """

    arrays: dict[str, Any]
    weights: np.ndarray
    indices: np.ndarray

    @property
    def time(self) -> int:
        """Steps that the longest padded array of the batch has; 1 where nothing is padded."""
        return max((each.values.shape[1] for each in self.arrays.values() if isinstance(each, Padded)), default=1)


class Ragged(NamedTuple):
    """A column of sequences.

    Attributes:
      values: An array `[time, ...]` for each example. They agree in dtype and in all axes but the first.
      padding: What the padding is filled with.
    """

    values: Sequence[np.ndarray]
    padding: int | float = 0


Column = Ragged | np.ndarray


class Examples(Protocol):
    """What batches are made of: lists in memory, memory maps, windows of a series."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """All arrays by name."""
        ...

    @property
    def lengths(self) -> np.ndarray:
        """The length by which each example is put into a bucket, `[num_examples]`."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash that differs wherever the examples do."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...


class Columns:
    """Examples in memory.

    Args:
      columns: The arrays by name.
      bucket_by: The ragged column whose lengths decide which examples share a batch; None: no column is ragged.

    Raises:
      ValueError: The columns hold different numbers of examples, or `bucket_by` names no ragged column.
    """

    def __init__(self, columns: Mapping[str, Column], *, bucket_by: str | None):
        sizes = {name: _num_examples(column) for name, column in columns.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"columns: expected one array for each example in every column, got {sizes}")
        self.columns = dict(columns)
        (self._num_examples,) = set(sizes.values())
        if bucket_by is None:
            self.lengths = np.ones(self._num_examples, np.int32)
        elif isinstance(column := columns.get(bucket_by), Ragged):
            self.lengths = np.array([len(each) for each in column.values], np.int32)
        else:
            raise ValueError(f"bucket_by: expected the name of a ragged column, got {bucket_by!r}")
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return self._num_examples

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {
            name: column.values[index] if isinstance(column, Ragged) else column[index]
            for name, column in self.columns.items()
        }

    @property
    def fingerprint(self) -> str:
        """A hash of all names, shapes, dtypes and contents."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for name, column in self.columns.items():
                digest.update(f"{name} {getattr(column, 'padding', '')}".encode())
                for array in column.values if isinstance(column, Ragged) else (column,):
                    digest.update(f"{array.dtype} {array.shape}".encode())
                    digest.update(np.ascontiguousarray(array).data)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint


def _num_examples(column: Column) -> int:
    return len(column.values) if isinstance(column, Ragged) else len(column)
