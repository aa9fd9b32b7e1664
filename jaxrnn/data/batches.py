"""Length-bucketed padded batches, in an order that only the seed and the epoch's number decide."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from jaxrnn.data.buckets import fill_buckets
from jaxrnn.data.examples import Batch, Column, Examples, Padded, Ragged


class Batches(Protocol):
    """The batches that a model is trained on."""

    @property
    def num_batches(self) -> int:
        """Batches of every epoch."""
        ...

    @property
    def batch_size(self) -> int:
        """Rows of every batch, filler included."""
        ...

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The distinct (batch, time) shapes, each of which is compiled once."""
        ...

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, without the first `start` of them."""
        ...


class _Bucket(NamedTuple):
    times: dict[str, int]  # the padded length of each ragged column
    time: int  # that of the column by which the examples were divided
    members: np.ndarray  # indices of examples


class BucketedBatches:
    """Batches of examples, each padded to one of a few lengths.

    The examples sorted by length are cut into buckets, one for each boundary. One batch of an epoch has filler, among
    the shortest examples where it costs least. An epoch shuffles the examples within each bucket, and the order of all
    batches. A ragged column with lengths of its own is padded to its longest member of the bucket.

    Args:
      examples: What to batch.
      boundaries: Increasing padded lengths, from `choose_boundaries`. Longer examples are padded to multiples of the
        last, so that new data adds few shapes.
      batch_size: Rows of every batch.
      seed: Seed of the shuffling.
      rows: The rows of every batch to build; those from `batch_size` on are filler. None: all.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        boundaries: Sequence[int],
        batch_size: int,
        seed: int,
        rows: range | None = None,
    ):
        self.batch_size = batch_size
        self._examples = examples
        self._seed = seed
        self._rows = range(batch_size) if rows is None else rows
        self._lengths = {
            name: np.array([len(each) for each in column.values], np.int32)
            for name, column in examples.columns.items()
            if isinstance(column, Ragged)
        }
        self._buckets = [
            _Bucket({name: self._time(name, time, members) for name in self._lengths}, time, members)
            for time, members in fill_buckets(examples.lengths, boundaries, batch_size)
        ]

    def _time(self, name: str, time: int, members: np.ndarray) -> int:
        lengths = self._lengths[name]
        if np.array_equal(lengths, self._examples.lengths):
            return time
        return max(int(lengths[members].max()), 1)

    @property
    def num_batches(self) -> int:
        """Batches of every epoch."""
        return -(-len(self._examples) // self.batch_size)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The distinct (batch, time) shapes."""
        return tuple((self.batch_size, bucket.time) for bucket in self._buckets)

    @property
    def padding(self) -> float:
        """The share of an epoch's cells, filler rows included, that hold no step of an example, from 0 to 1."""
        cells = sum(each.time * -(-len(each.members) // self.batch_size) * self.batch_size for each in self._buckets)
        return 1.0 - float(self._examples.lengths.sum()) / cells if cells else 0.0

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """Returns the batches of one epoch in their shuffled order.

        Args:
          number: The epoch's number. With the seed it decides everything.
          start: Number of batches to skip. They are not built.
        """
        rng = np.random.default_rng([self._seed, number])
        batches = self._cut([bucket._replace(members=rng.permutation(bucket.members)) for bucket in self._buckets])
        order = rng.permutation(len(batches))[start:]
        return (self._build(batches[i]) for i in order)

    def in_order(self) -> Iterator[Batch]:
        """Returns every example once, shortest first; `Batch.indices` puts results back in the data's order."""
        return (self._build(batch) for batch in self._cut(self._buckets))

    def _cut(self, buckets: list[_Bucket]) -> list[_Bucket]:
        step = self.batch_size
        return [
            bucket._replace(members=bucket.members[i : i + step])
            for bucket in buckets
            for i in range(0, len(bucket.members), step)
        ]

    def _build(self, batch: _Bucket) -> Batch:
        members = batch.members
        built = members[self._rows.start : self._rows.stop]
        num_filler = len(self._rows) - len(built)
        columns = self._examples.columns
        return Batch(
            arrays={name: self._column(name, column, batch, built) for name, column in columns.items()},
            weights=np.pad(np.ones(len(built), np.float32), (0, num_filler)),
            indices=np.pad(members.astype(np.int64), (0, self.batch_size - len(members)), constant_values=-1),
        )

    def _column(self, name: str, column: Column, batch: _Bucket, built: np.ndarray) -> Padded | np.ndarray:
        num_rows = len(self._rows)
        if not isinstance(column, Ragged):
            return np.pad(column[built], [(0, num_rows - len(built)), *[(0, 0)] * (column.ndim - 1)])
        first = column.values[0]
        values = np.full((num_rows, batch.times[name], *first.shape[1:]), column.padding, first.dtype)
        lengths = self._lengths[name][built]
        for row, (i, length) in enumerate(zip(built, lengths, strict=True)):
            values[row, :length] = column.values[i]
        return Padded(values, np.pad(lengths, (0, num_rows - len(built))))
