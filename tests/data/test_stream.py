import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrnn.data import StreamBatches

END = 2


def texts_of(lengths):
    """Texts whose token numbers are all different."""
    numbers = iter(range(3, 10_000))
    return [np.array([next(numbers) for _ in range(length)], np.int32) for length in lengths]


def rows_of(batches, number=0):
    """Each row's inputs and targets, put together from the windows."""
    rows = [([], []) for _ in range(batches.shapes[0][0])]
    for batch in batches.epoch(number):
        for (inputs, targets), tokens, length in zip(rows, batch.tokens, batch.lengths, strict=True):
            inputs += tokens[: max(length - 1, 0)].tolist()
            targets += tokens[1 : max(length, 1)].tolist()
            assert (tokens[length:] == 1).all()
    return rows


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    batch_size=st.integers(1, 5),
    window=st.integers(1, 7),
    number=st.integers(0, 3),
)
def test_every_token_is_a_target_once_and_follows_its_input(lengths, batch_size, window, number):
    texts = texts_of(lengths)
    batches = StreamBatches(texts, end_id=END, batch_size=batch_size, window=window, seed=7)
    assert len(list(batches.epoch(number))) == batches.num_batches
    stream = []
    for inputs, targets in rows_of(batches, number):
        assert inputs == [END, *targets[:-1]][: len(targets)]  # windows go on where the last one ended
        stream += targets
    order = np.random.default_rng([7, number]).permutation(len(texts))
    assert stream == [token for i in order for token in [*texts[i].tolist(), END]]
    filled = sum(int((batch.lengths - 1).clip(0).sum()) for batch in batches.epoch(number))
    cells = batches.num_batches * batch_size * window
    assert batches.padding == pytest.approx(1 - filled / cells)


def test_by_hand():
    batches = StreamBatches(texts_of([3, 1, 2]), end_id=END, batch_size=2, window=3, seed=0)
    order = np.random.default_rng([0, 1]).permutation(3).tolist()
    assert order == [2, 0, 1]  # 7 8 end 3 4 | 5 end 6 end
    first, second = batches.epoch(1)
    assert first.tokens.tolist() == [[END, 7, 8, END], [END, 5, END, 6]]
    assert second.tokens.tolist() == [[END, 3, 4, 1], [6, END, 1, 1]]
    assert (first.lengths.tolist(), second.lengths.tolist()) == ([4, 4], [3, 2])
    assert (first.indices.tolist(), second.indices.tolist()) == ([2, 0], [0, 1])  # the texts that the windows begin in
    assert first.weights.tolist() == [1, 1]
    assert (batches.num_batches, batches.shapes) == (2, ((2, 4),))


def test_an_epoch_goes_on_from_any_batch_and_differs_from_the_others():
    batches = StreamBatches(texts_of([5, 4, 6, 3, 7]), end_id=END, batch_size=2, window=4, seed=0)
    whole = [batch.tokens for batch in batches.epoch(3)]
    np.testing.assert_array_equal([batch.tokens for batch in batches.epoch(3, start=2)], whole[2:])
    assert not np.array_equal(whole, [batch.tokens for batch in batches.epoch(4)])


def test_hosts_share_the_rows():
    texts = texts_of([5, 4, 6, 3, 7])
    whole = StreamBatches(texts, end_id=END, batch_size=3, window=4, seed=0)
    parts = [
        StreamBatches(texts, end_id=END, batch_size=3, window=4, seed=0, rows=rows) for rows in (range(2), range(2, 4))
    ]
    for one, *two in zip(whole.epoch(0), *(part.epoch(0) for part in parts), strict=True):
        np.testing.assert_array_equal(np.concatenate([each.tokens for each in two])[:3], one.tokens)
        assert np.concatenate([each.lengths for each in two]).tolist() == [*one.lengths, 0]  # the last is filler
        assert two[0].indices.tolist() == one.indices.tolist()
