"""Sequences one after another in a few long rows, cut into windows: what a language model is trained on."""

from collections.abc import Iterator, Sequence

import numpy as np

from jaxrnn.data.examples import Batch, Padded


class StreamBatches:
    """Windows of a stream of sequences, each window going on where the one before it ended.

    An epoch shuffles the sequences, puts an end after each, and cuts this stream into `batch_size` rows of equal length
    (the last may be shorter). Each row begins with an end, as a sequence does; so at most `batch_size - 1` sequences
    are torn. A batch is the next window of every row: `window` steps and, as the first input's context and the last
    step's target, one token more, which the next window has again. Every token but those that begin a row is a target
    once an epoch.

    Args:
      sequences: Token numbers of each sequence.
      end_id: Token number of the end of a sequence.
      pad_id: Token number of the padding.
      batch_size: Rows.
      window: Steps of a window; no window is longer than a row.
      seed: Seed of the shuffling.
      rows: The rows of every batch to build; those from `batch_size` on are filler. None: all.
    """

    def __init__(
        self,
        sequences: Sequence[np.ndarray],
        *,
        end_id: int,
        pad_id: int,
        batch_size: int,
        window: int,
        seed: int,
        rows: range | None = None,
    ):
        self.batch_size = batch_size
        self._sequences = [np.append(ids, np.int32(end_id)) for ids in sequences]
        self._end_id = end_id
        self._pad_id = np.int32(pad_id)
        self._seed = seed
        self._rows = range(batch_size) if rows is None else rows
        self._num_targets = sum(map(len, self._sequences))
        self._row_length = -(-self._num_targets // batch_size)  # targets of a row
        self._window = min(window, self._row_length)  # a longer one would be padding alone

    @property
    def num_batches(self) -> int:
        """Batches of every epoch."""
        return -(-self._row_length // self._window)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The one (batch, time) shape."""
        return ((self.batch_size, self._window + 1),)

    @property
    def padding(self) -> float:
        """The share of an epoch's steps that have no target, from 0 to 1."""
        return 1.0 - self._num_targets / (self.num_batches * self.batch_size * self._window)

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """Returns the batches of one epoch in their order.

        The batches have one array, "tokens", and their indices are those of the sequences in which the rows begin.

        Args:
          number: The epoch's number. With the seed it decides everything.
          start: Number of batches to skip.
        """
        order = np.random.default_rng([self._seed, number]).permutation(len(self._sequences))
        targets = np.full(self.batch_size * self._row_length, self._pad_id, np.int32)
        targets[: self._num_targets] = np.concatenate([self._sequences[i] for i in order])
        ends = np.cumsum([len(self._sequences[i]) for i in order])  # where each sequence ends in the stream
        begin = np.full((self.batch_size, 1), self._end_id, np.int32)
        table = np.concatenate([begin, targets.reshape(self.batch_size, -1)], axis=1)
        return (self._build(table, order, ends, i) for i in range(start, self.num_batches))

    def _build(self, table: np.ndarray, order: np.ndarray, ends: np.ndarray, number: int) -> Batch:
        """The window of that number from a table [batch, row length + 1] of all tokens."""
        first = number * self._window
        positions = np.arange(self.batch_size) * self._row_length + first  # each row's first target in the stream
        left = np.minimum(self._row_length - first, self._num_targets - positions)
        num_targets = np.clip(left, 0, self._window)
        is_filled = num_targets > 0
        sequences = order[np.searchsorted(ends, np.where(is_filled, positions, 0), side="right")]
        tokens = np.full((len(self._rows), self._window + 1), self._pad_id, np.int32)
        built = table[self._rows.start : self._rows.stop, first : first + self._window + 1]
        tokens[: len(built), : built.shape[1]] = built
        lengths = np.where(is_filled, num_targets + 1, 0)[self._rows.start : self._rows.stop]
        lengths = np.pad(lengths, (0, len(self._rows) - len(lengths))).astype(np.int32)
        tokens = np.where(np.arange(self._window + 1) < lengths[:, None], tokens, self._pad_id)
        return Batch(
            arrays={"tokens": Padded(tokens, lengths)},
            weights=(lengths > 0).astype(np.float32),
            indices=np.where(is_filled, sequences, -1),
        )
