import logging
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrnn.data import BucketedBatches, WithUnlabelled, choose_boundaries, truncate

PAD = 1


def make(lengths, *, batch_size=4, seed=0, max_shapes=3, boundaries=None):
    """Example i holds the numbers i*1000 + 2, i*1000 + 3, ...: every cell tells where it came from."""
    ids = [np.arange(n, dtype=np.int32) + 1000 * i + 2 for i, n in enumerate(lengths)]
    boundaries = boundaries or choose_boundaries(lengths, batch_size=batch_size, max_shapes=max_shapes)
    return BucketedBatches(
        ids, [i % 3 for i in range(len(ids))], boundaries=boundaries, batch_size=batch_size, seed=seed
    )


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


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
        assert len({batch.tokens.shape for batch in batches}) <= max_shapes
        assert {batch.tokens.shape for batch in batches} == set(data.shapes)
        cells = sum(batch.tokens.size for batch in batches)
        assert data.padding == pytest.approx(1 - sum(lengths) / cells)
        for batch in batches:
            for row, i in enumerate(batch.indices):
                length = batch.lengths[row]
                assert (batch.tokens[row, length:] == PAD).all()
                if i < 0:
                    assert (length, batch.labels[row], batch.weights[row]) == (0, 0, 0)
                else:
                    assert (length, batch.labels[row], batch.weights[row]) == (lengths[i], i % 3, 1)
                    assert (batch.tokens[row, :length] == np.arange(length) + 1000 * i + 2).all()


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
    assert [batch.tokens.shape for batch in batches] == [(4, 2)] * 3 + [(4, 50)] * 2
    assert batches[2].indices.tolist() == [16, -1, -1, -1]


@given(labelled=corpora, others=corpora, data=st.data())
@settings(deadline=None)
def test_the_batch_beside_follows_the_number_of_the_step(labelled, others, data):
    batches = WithUnlabelled(make(labelled), make(others, seed=1))
    beside = [batch for number in range(3 * batches.num_batches) for batch in make(others, seed=1).epoch(number)]
    assert batches.shapes == make(labelled).shapes + make(others).shapes
    start = data.draw(st.integers(0, batches.num_batches))
    for number in range(3):
        found = list(batches.epoch(number, start=start))
        assert len(found) == batches.num_batches - start
        for place, (batch, alone) in enumerate(zip(found, make(labelled).epoch(number, start=start), strict=True)):
            assert same(batch.unlabelled, beside[number * batches.num_batches + start + place])
            assert same(replace(batch, unlabelled=None), alone)


def test_dtypes():
    batch = next(make([3, 4, 5]).epoch(0))
    assert {name: str(value.dtype) for name, value in vars(batch).items() if value is not None} == {
        "tokens": "int32",
        "lengths": "int32",
        "labels": "int32",
        "weights": "float32",
        "indices": "int64",
    }


def test_longer_than_the_boundaries():
    data = make([3, 9, 10, 11, 29, 30, 31], batch_size=1, boundaries=(5, 10))
    assert [batch.tokens.shape[1] for batch in data.in_order()] == [5, 10, 10, 20, 30, 30, 40]


def cells(lengths, boundaries, batch_size):
    return sum(batch.tokens.size for batch in make(lengths, batch_size=batch_size, boundaries=boundaries).in_order())


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=25), max_shapes=st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_boundaries_are_the_best(lengths, max_shapes):
    chosen = choose_boundaries(lengths, batch_size=3, max_shapes=max_shapes)
    assert len(chosen) <= max_shapes
    assert chosen[-1] == max(lengths)
    shorter = sorted(set(lengths) - {max(lengths)})
    best = min(
        cells(lengths, (*others, max(lengths)), 3)
        for size in range(min(max_shapes, len(shorter) + 1))
        for others in combinations(shorter, size)
    )
    assert cells(lengths, chosen, 3) == best


def test_boundaries_by_hand():
    assert choose_boundaries([10, 10, 10, 50, 50, 90], batch_size=1, max_shapes=2) == (10, 90)  # 50 -> 90 costs 80
    assert choose_boundaries([0, 0], batch_size=2) == (1,)
    with pytest.raises(ValueError, match="at least one length"):
        choose_boundaries([], batch_size=2)


def test_truncate(caplog):
    ids = [np.arange(n) for n in (0, 5, 100_000)]
    with caplog.at_level(logging.INFO, "jaxrnn"):
        assert [len(cut) for cut in truncate(ids, 5)] == [0, 5, 5]
    assert caplog.messages == ["data: cut 1 of 3 texts to data.max_tokens = 5"]
    assert truncate(ids, 5)[2].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("keep", "head_fraction", "expected"),
    [
        ("head", 0.25, [0, 1, 2, 3]),
        ("tail", 0.25, [6, 7, 8, 9]),
        ("both", 0.25, [0, 7, 8, 9]),
        ("both", 0.6, [0, 1, 8, 9]),  # 2.4 tokens
        ("both", 0.99, [0, 1, 2, 3]),
        ("both", 0.01, [6, 7, 8, 9]),
    ],
)
def test_truncate_keeps_the_part_that_is_asked_for(keep, head_fraction, expected):
    ids = [np.arange(10), np.arange(4), np.arange(20).reshape(10, 2)]
    cut, short, pairs = truncate(ids, 4, keep=keep, head_fraction=head_fraction)
    assert cut.tolist() == expected
    assert short.tolist() == [0, 1, 2, 3]
    assert pairs.tolist() == [[2 * i, 2 * i + 1] for i in expected]


def test_labels_must_match():
    with pytest.raises(ValueError, match="one for each of the 1 texts, got 2"):
        BucketedBatches([np.zeros(1)], [0, 1], boundaries=(1,), batch_size=1, seed=0)
