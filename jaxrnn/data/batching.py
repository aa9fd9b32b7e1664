"""Length-bucketed padded batches, in an order that only the seed and the epoch's number decide."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

logger = logging.getLogger("jaxrnn")

Kept = Literal["head", "tail", "both"]


@dataclass(frozen=True)
class Batch:
    """Padded examples.

    The last rows of one batch of an epoch may be filler: length 0, all padding, weight 0, index -1.

    Attributes:
        tokens: int32 [rows, time], padded at the end of each row; or [rows, time, numbers] where tokens have several.
        lengths: int32 [rows], tokens before the padding.
        labels: int32 [rows], 0 in filler rows.
        weights: float32 [rows], 1 for examples, 0 for filler.
        indices: int64 [batch], the place in the data of every row of the batch, -1 for filler. The other arrays have
            those rows of it that were asked for, which are all unless several hosts share it.
        folds: int32 [rows], the fold of the training texts that each example is in; None where there are none.
        unlabelled: A batch beside this one, whose labels count for nothing, if there is one.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    indices: np.ndarray
    folds: np.ndarray | None = None
    unlabelled: "Batch | None" = None


def truncate(
    token_ids: Sequence[np.ndarray], max_tokens: int, *, keep: Kept = "head", head_fraction: float = 0.25
) -> list[np.ndarray]:
    """Cuts longer texts to `max_tokens` tokens, and logs how many there were.

    Args:
        token_ids: The numbers of each text's tokens, [num_tokens] or [num_tokens, numbers].
        max_tokens: Tokens that stay at most.
        keep: Which of them: the first ("head"), the last ("tail"), or some of both, side by side ("both").
        head_fraction: Share of `max_tokens` that "both" keeps from the start, rounded.
    """
    num_cut = sum(len(ids) > max_tokens for ids in token_ids)
    if num_cut:
        logger.info("data: cut %d of %d texts to data.max_tokens = %d", num_cut, len(token_ids), max_tokens)
    head = {"head": max_tokens, "tail": 0, "both": round(head_fraction * max_tokens)}[keep]
    tail = max_tokens - head
    return [
        ids if len(ids) <= max_tokens else np.concatenate([ids[:head], ids[len(ids) - tail :]]) for ids in token_ids
    ]


def choose_boundaries(lengths: Sequence[int] | np.ndarray, *, batch_size: int, max_shapes: int = 12) -> tuple[int, ...]:
    """Chooses the padded lengths that leave the least padding.

    Every batch of an epoch is padded to one of them, so they are also the shapes that get compiled. The choice is
    exact: a dynamic programme over the batches of the examples sorted by length.

    Args:
        lengths: [num_examples], number of tokens of each example.
        batch_size: Examples a batch.
        max_shapes: The most lengths to return.

    Returns:
        Increasing padded lengths; the last is the longest example's (at least 1).

    Raises:
        ValueError: There are no lengths, or `max_shapes` or `batch_size` is less than 1.
    """
    if len(lengths) == 0 or batch_size < 1 or max_shapes < 1:
        raise ValueError(
            "choose_boundaries: expected at least one length, batch_size >= 1 and max_shapes >= 1, "
            f"got {len(lengths)} lengths, batch_size={batch_size}, max_shapes={max_shapes}"
        )
    # Full batches counted from the longest example down: the one that is not full holds the shortest.
    maxima = np.maximum(np.sort(np.asarray(lengths))[::-1][::batch_size][::-1], 1)
    candidates, num_batches = np.unique(maxima, return_counts=True)
    counts = np.cumsum(num_batches)
    # cost[j]: least cells for the batches up to candidate j, which is the last boundary so far.
    cost = counts * candidates
    choices = []
    for _ in range(min(max_shapes, len(candidates)) - 1):
        # [previous boundary i, next boundary j]: the batches between them are padded to candidate j.
        through = cost.astype(np.float64)[:, None] + (counts[None, :] - counts[:, None]) * candidates[None, :]
        through[np.tril_indices(len(candidates), -1)] = np.inf
        choices.append(through.argmin(axis=0))
        cost = through.min(axis=0)
    chosen = [len(candidates) - 1]
    for previous in reversed(choices):
        chosen.append(int(previous[chosen[-1]]))
    return tuple(int(length) for length in candidates[sorted(set(chosen))])


class BucketedBatches:
    """The batches of a data set, each padded to one of a few lengths.

    The examples sorted by length are cut into buckets, one for each boundary, at places that leave every bucket
    but the shortest a multiple of the batch size: what does not fill a batch moves up to the next bucket. One
    batch of an epoch has filler, among the shortest texts where it costs least. An epoch shuffles the examples
    within each bucket, and the order of all batches.

    Args:
        token_ids: [num_examples] arrays of token numbers, of any length including 0; or of rows of numbers.
        labels: [num_examples], the label numbers.
        folds: [num_examples], the fold that each is in, see `folds_of`; None: no folds.
        boundaries: Increasing padded lengths, from `choose_boundaries`. Longer examples are padded to multiples of
            the last, so that new data adds few shapes.
        batch_size: Rows of every batch.
        seed: Seed of the shuffling.
        pad_id: Token number of the padding.
        rows: Rows of every batch to build. None: all; those from `batch_size` on are filler.
    """

    def __init__(
        self,
        token_ids: Sequence[np.ndarray],
        labels: Sequence[int] | np.ndarray,
        *,
        folds: np.ndarray | None = None,
        boundaries: Sequence[int],
        batch_size: int,
        seed: int,
        pad_id: int = 1,
        rows: range | None = None,
    ) -> None:
        if len(token_ids) != len(labels):
            raise ValueError(f"labels: expected one for each of the {len(token_ids)} texts, got {len(labels)}")
        self._token_ids = token_ids
        self._numbers = token_ids[0].shape[1:] if token_ids else ()  # of each token
        self._labels = np.asarray(labels, dtype=np.int32)
        self._folds = folds
        self._batch_size = batch_size
        self._seed = seed
        self._pad_id = pad_id
        self._rows = range(batch_size) if rows is None else rows
        self._lengths = np.array([len(ids) for ids in token_ids], dtype=np.int32)
        self._buckets = _fill_buckets(self._lengths, boundaries, batch_size)

    @property
    def num_batches(self) -> int:
        """Number of batches of every epoch."""
        return -(-len(self._lengths) // self._batch_size)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The distinct (batch, time) shapes."""
        return tuple((self._batch_size, time) for time, _ in self._buckets)

    @property
    def padding(self) -> float:
        """Share of an epoch's cells, filler rows included, that hold no token: 0 to 1."""
        cells = sum(time * -(-len(members) // self._batch_size) * self._batch_size for time, members in self._buckets)
        return 1.0 - float(self._lengths.sum()) / cells if cells else 0.0

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """Returns the batches of one epoch in their shuffled order.

        Args:
            number: The epoch's number; with the seed it decides everything.
            start: Number of batches to skip. They are not built.
        """
        rng = np.random.default_rng([self._seed, number])
        plan = self._cut([(time, rng.permutation(members)) for time, members in self._buckets])
        order = rng.permutation(len(plan))[start:]
        return (self._build(*plan[i]) for i in order)

    def in_order(self) -> Iterator[Batch]:
        """Returns every example once, shortest first, for evaluation; `Batch.indices` puts results back in order."""
        return (self._build(time, members) for time, members in self._cut(self._buckets))

    def _cut(self, buckets: list[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
        step = self._batch_size
        return [(time, members[i : i + step]) for time, members in buckets for i in range(0, len(members), step)]

    def _build(self, time: int, members: np.ndarray) -> Batch:
        indices = np.pad(members.astype(np.int64), (0, self._batch_size - len(members)), constant_values=-1)
        built = members[self._rows.start : self._rows.stop]
        tokens = np.full((len(self._rows), time, *self._numbers), self._pad_id, dtype=np.int32)
        for row, i in enumerate(built):
            tokens[row, : self._lengths[i]] = self._token_ids[i]
        filler = (0, len(self._rows) - len(built))
        return Batch(
            tokens=tokens,
            lengths=np.pad(self._lengths[built], filler),
            labels=np.pad(self._labels[built], filler),
            weights=np.pad(np.ones(len(built), dtype=np.float32), filler),
            indices=indices,
            folds=None if self._folds is None else np.pad(self._folds[built], filler),
        )


class WithUnlabelled:
    """Labelled batches, each with a batch of other texts beside it whose labels count for nothing.

    The others come round in their own time: the n-th batch of a run, over all epochs, has their n-th beside it. So
    where a run goes on, its place among them needs no memory.
    """

    def __init__(self, labelled: BucketedBatches, others: BucketedBatches) -> None:
        self._labelled = labelled
        self._others = others

    @property
    def num_batches(self) -> int:
        """Number of batches of every epoch."""
        return self._labelled.num_batches

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The distinct (batch, time) shapes of the labelled batches, then those of the others."""
        return self._labelled.shapes + self._others.shapes

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """Returns the batches of one epoch; arguments as of the labelled ones."""
        others = self._endless(start=number * self.num_batches + start)
        pairs = zip(self._labelled.epoch(number, start=start), others, strict=False)
        return (replace(batch, unlabelled=other) for batch, other in pairs)

    def _endless(self, *, start: int) -> Iterator[Batch]:
        number, start = divmod(start, self._others.num_batches)
        while True:
            yield from self._others.epoch(number, start=start)
            number, start = number + 1, 0


def _fill_buckets(lengths: np.ndarray, boundaries: Sequence[int], batch_size: int) -> list[tuple[int, np.ndarray]]:
    """Returns (padded length, example indices sorted by length) of every bucket that is not empty."""
    if len(lengths) == 0:
        return []
    last = boundaries[-1]
    times = [*boundaries, *range(2 * last, int(lengths.max()) + last, last)]
    order = np.argsort(lengths, kind="stable")
    remainder = len(lengths) % batch_size
    buckets = []
    begin = 0
    for time, fitting in zip(times, np.searchsorted(lengths[order], times, side="right"), strict=True):
        # The largest end that fits and leaves whole batches above it.
        end = (int(fitting) - remainder) // batch_size * batch_size + remainder
        if end > begin:
            buckets.append((int(time), order[begin:end]))
            begin = end
    return buckets
