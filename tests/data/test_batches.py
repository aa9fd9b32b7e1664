import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrnn.data import BucketedBatches, Columns, Padded, Ragged, choose_boundaries

PAD = 1


def examples_of(lengths):
    """Example i holds the numbers i*1000 + 2, i*1000 + 3, ...: every cell tells where it came from."""
    words = [np.arange(n, dtype=np.int32) + 1000 * i + 2 for i, n in enumerate(lengths)]
    features = [np.full((n % 4, 2), i, np.float32) for i, n in enumerate(lengths)]  # a sequence of lengths of its own
    columns = {
        "words": Ragged(words, padding=PAD),
        "features": Ragged(features, padding=-1.0),
        "label": np.arange(len(lengths)) % 3,
        "vector": np.arange(2 * len(lengths), dtype=np.float32).reshape(-1, 2),
    }
    return Columns(columns, bucket_by="words")


def make(lengths, *, batch_size=4, seed=0, max_shapes=3, boundaries=None, rows=None):
    boundaries = boundaries or choose_boundaries(lengths, batch_size=batch_size, max_shapes=max_shapes)
    return BucketedBatches(examples_of(lengths), boundaries=boundaries, batch_size=batch_size, seed=seed, rows=rows)


def same(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


corpora = st.lists(st.integers(0, 60), min_size=1, max_size=90)


@given(lengths=corpora, batch_size=st.integers(1, 9), max_shapes=st.integers(1, 5), number=st.integers(0, 3))
@settings(deadline=None)
def test_every_example_once_and_padding_is_padding(lengths, batch_size, max_shapes, number):
    data = make(lengths, batch_size=batch_size, max_shapes=max_shapes)
    for batches in (list(data.epoch(number)), list(data.in_order())):
        assert len(batches) == data.num_batches == -(-len(lengths) // batch_size)
        seen = np.concatenate([batch.indices for batch in batches])
        assert sorted(seen[seen >= 0]) == list(range(len(lengths)))
        assert sum(bool((batch.indices < 0).any()) for batch in batches) == (len(lengths) % batch_size > 0)
        shapes = {batch.arrays["words"].values.shape for batch in batches}
        assert len(shapes) <= max_shapes
        assert shapes == set(data.shapes)
        assert len({batch.arrays["features"].values.shape for batch in batches}) <= len(shapes)
        cells = sum(batch.arrays["words"].values.size for batch in batches)
        assert data.padding == pytest.approx(1 - sum(lengths) / cells)
        for batch in batches:
            (words, word_lengths), (features, feature_lengths), label, vector = batch.arrays.values()
            for row, i in enumerate(batch.indices):
                length = word_lengths[row]
                assert (words[row, length:] == PAD).all()
                assert (features[row, feature_lengths[row] :] == -1).all()
                if i < 0:
                    assert (length, feature_lengths[row], label[row], batch.weights[row]) == (0, 0, 0, 0)
                    assert not vector[row].any()
                else:
                    assert (length, label[row], batch.weights[row]) == (lengths[i], i % 3, 1)
                    assert (words[row, :length] == np.arange(length) + 1000 * i + 2).all()
                    assert feature_lengths[row] == lengths[i] % 4
                    assert (features[row, : lengths[i] % 4] == i).all()
                    assert vector[row].tolist() == [2 * i, 2 * i + 1]


@given(lengths=corpora, data=st.data())
@settings(deadline=None)
def test_an_epoch_can_start_anywhere(lengths, data):
    batches = make(lengths)
    start = data.draw(st.integers(0, batches.num_batches))
    whole, rest = list(batches.epoch(5)), list(batches.epoch(5, start=start))
    assert len(rest) == len(whole) - start
    assert all(same(a, b) for a, b in zip(whole[start:], rest, strict=True))


def test_order_follows_seed_and_epoch():
    lengths = list(range(5, 45))

    def rows(seed, number):
        return [tuple(batch.indices) for batch in make(lengths, seed=seed).epoch(number)]

    assert rows(0, 0) == rows(0, 0)
    assert rows(0, 0) != rows(0, 1)
    assert rows(0, 0) != rows(1, 0)
    assert {frozenset(batch) for batch in rows(0, 0)} != {
        frozenset(batch) for batch in rows(0, 1)
    }  # not the order alone


def test_skipped_batches_are_not_built(monkeypatch):
    data = make(list(range(40)))
    built = []
    build = data._build
    monkeypatch.setattr(data, "_build", lambda *args: (built.append(1), build(*args))[1])
    list(data.epoch(0, start=7))
    assert len(built) == 3


def test_filler_is_among_the_shortest():
    batches = list(make([50] * 8 + [2] * 9, batch_size=4, max_shapes=2).in_order())
    assert [batch.arrays["words"].values.shape for batch in batches] == [(4, 2)] * 3 + [(4, 50)] * 2
    assert batches[2].indices.tolist() == [16, -1, -1, -1]


def test_dtypes():
    batch = next(make([3, 4, 5]).epoch(0))
    dtypes = jax.tree.map(lambda array: str(array.dtype), batch)
    assert dtypes.arrays == {
        "words": Padded("int32", "int32"),
        "features": Padded("float32", "int32"),
        "label": "int64",
        "vector": "float32",
    }
    assert (dtypes.weights, dtypes.indices) == ("float32", "int64")


def test_examples_without_sequences_are_shuffled_and_filled_up():
    examples = Columns({"x": np.arange(7.0)}, bucket_by=None)
    data = BucketedBatches(examples, boundaries=(1,), batch_size=3, seed=0)
    batches = list(data.epoch(0))
    assert sorted(np.concatenate([batch.arrays["x"][batch.weights > 0] for batch in batches])) == list(range(7))
    assert [batch.arrays["x"].shape for batch in batches] == [(3,)] * 3
    assert data.shapes == ((3, 1),)


def test_each_host_builds_its_own_rows():
    """Two hosts' rows, one after the other, are the batch of one, and know the same indices."""
    lengths = np.random.default_rng(0).integers(0, 9, 40).tolist()
    parts = [make(lengths, batch_size=12, rows=rows).epoch(3) for rows in (range(12), range(8), range(8, 16))]
    for whole, one, two in zip(*parts, strict=True):
        parts = [(part.arrays, part.weights) for part in (one, two)]
        joined = jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
        assert same(jax.tree.map(lambda rows: rows[:12], joined), (whole.arrays, whole.weights))
        assert not joined[1][12:].any()
        assert same(one.indices, whole.indices)
        assert same(two.indices, whole.indices)


def test_longer_than_the_boundaries():
    data = make([3, 9, 10, 11, 29, 30, 31], batch_size=1, boundaries=(5, 10))
    assert [batch.time for batch in data.in_order()] == [5, 10, 10, 20, 30, 30, 40]
