"""Windows of a stream: each goes on where the one before it ended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrnn.data import StreamBatches

END, PAD = 2, 1


def texts_of(lengths):
    """Texts whose token numbers are all different."""
    numbers = iter(range(3, 10_000))
    return [np.array([next(numbers) for _ in range(length)], np.int32) for length in lengths]


def make(lengths, *, seed=0, **sizes):
    return StreamBatches(texts_of(lengths), end_id=END, pad_id=PAD, seed=seed, **sizes)


def windows(batches, number, **options):
    """The tokens and lengths of each window."""
    return [tuple(batch.arrays["tokens"]) for batch in batches.epoch(number, **options)]


def rows_of(batches, number=0):
    """Each row's inputs and targets, put together from the windows."""
    rows = [([], []) for _ in range(batches.shapes[0][0])]
    for window in windows(batches, number):
        for (inputs, targets), tokens, length in zip(rows, *window, strict=True):
            inputs += tokens[: max(length - 1, 0)].tolist()
            targets += tokens[1 : max(length, 1)].tolist()
            assert (tokens[length:] == PAD).all()
    return rows


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    batch_size=st.integers(1, 5),
    window=st.integers(1, 7),
    number=st.integers(0, 3),
)
def test_every_token_is_a_target_once_and_follows_its_input(lengths, batch_size, window, number):
    batches = make(lengths, batch_size=batch_size, window=window, seed=7)
    assert len(list(batches.epoch(number))) == batches.num_batches
    stream = []
    for inputs, targets in rows_of(batches, number):
        assert inputs == [END, *targets[:-1]][: len(targets)]  # windows go on where the last one ended
        stream += targets
    order = np.random.default_rng([7, number]).permutation(len(lengths))
    texts = texts_of(lengths)
    assert stream == [token for i in order for token in [*texts[i].tolist(), END]]
    filled = sum(int((lengths - 1).clip(0).sum()) for _, lengths in windows(batches, number))
    cells = batches.num_batches * batch_size * min(window, -(-(sum(lengths) + len(lengths)) // batch_size))
    assert batches.padding == pytest.approx(1 - filled / cells)


def test_by_hand():
    batches = make([3, 1, 2], batch_size=2, window=3)
    order = np.random.default_rng([0, 1]).permutation(3).tolist()
    assert order == [2, 0, 1]  # 7 8 end 3 4 | 5 end 6 end
    first, second = batches.epoch(1)
    assert first.arrays["tokens"].values.tolist() == [[END, 7, 8, END], [END, 5, END, 6]]
    assert second.arrays["tokens"].values.tolist() == [[END, 3, 4, PAD], [6, END, PAD, PAD]]
    assert [batch.arrays["tokens"].lengths.tolist() for batch in (first, second)] == [[4, 4], [3, 2]]
    assert (first.indices.tolist(), second.indices.tolist()) == ([2, 0], [0, 1])  # the texts that the windows begin in
    assert first.weights.tolist() == [1, 1]
    assert (batches.num_batches, batches.shapes) == (2, ((2, 4),))


def test_an_epoch_goes_on_from_any_batch_and_differs_from_the_others():
    batches = make([5, 4, 6, 3, 7], batch_size=2, window=4)
    whole = windows(batches, 3)
    for one, other in zip(windows(batches, 3, start=2), whole[2:], strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert not all(np.array_equal(one[0], other[0]) for one, other in zip(whole, windows(batches, 4), strict=True))


def test_hosts_share_the_rows():
    whole = make([5, 4, 6, 3, 7], batch_size=3, window=4)
    parts = [make([5, 4, 6, 3, 7], batch_size=3, window=4, rows=rows) for rows in (range(2), range(2, 4))]
    for one, *two in zip(whole.epoch(0), *(part.epoch(0) for part in parts), strict=True):
        tokens, lengths = (np.concatenate(each) for each in zip(*(part.arrays["tokens"] for part in two), strict=True))
        np.testing.assert_array_equal(tokens[:3], one.arrays["tokens"].values)
        assert lengths.tolist() == [*one.arrays["tokens"].lengths, 0]  # the last is filler
        assert two[1].weights.tolist() == [1, 0]
        assert two[0].indices.tolist() == one.indices.tolist()
