"""Which examples are padded to which length."""

from collections.abc import Sequence

import numpy as np


def choose_boundaries(lengths: Sequence[int] | np.ndarray, *, batch_size: int, max_shapes: int = 12) -> tuple[int, ...]:
    """Chooses the padded lengths that leave the least padding.

    Every batch of an epoch is padded to one of them, so they are also the shapes that get compiled. The choice is
    exact: a dynamic programme over the batches of the examples sorted by length.

    Args:
      lengths: Steps of each example, `[num_examples]`.
      batch_size: Examples in a batch.
      max_shapes: The most lengths to return.

    Returns:
      Increasing padded lengths. The last is the longest example's (at least 1).

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
    # cost[j]: the fewest cells for the batches up to candidate j, which is the last boundary so far.
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


def fill_buckets(lengths: np.ndarray, boundaries: Sequence[int], batch_size: int) -> list[tuple[int, np.ndarray]]:
    """Divides examples into buckets, each a multiple of the batch size but for the one with the shortest examples.

    What does not fill a batch moves up to the next bucket.

    Args:
      lengths: Steps of each example, `[num_examples]`.
      boundaries: Increasing padded lengths. Longer examples are padded to multiples of the last.
      batch_size: Examples in a batch.

    Returns:
      The padded length of every bucket that is not empty, and its examples' indices sorted by length.
    """
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
