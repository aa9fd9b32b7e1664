from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrnn.data import choose_boundaries
from jaxrnn.data.buckets import fill_buckets


def cells(lengths, boundaries, batch_size):
    buckets = fill_buckets(np.array(lengths), boundaries, batch_size)
    return sum(time * -(-len(members) // batch_size) * batch_size for time, members in buckets)


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=25), max_shapes=st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_no_other_boundaries_leave_less_padding(lengths, max_shapes):
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


@pytest.mark.parametrize(
    ("lengths", "sizes"), [([], {}), ([3], {"batch_size": 0}), ([3], {"batch_size": 2, "max_shapes": 0})]
)
def test_boundaries_need_lengths_and_sizes(lengths, sizes):
    with pytest.raises(ValueError, match="at least one length"):
        choose_boundaries(lengths, **{"batch_size": 2} | sizes)


@given(
    lengths=st.lists(st.integers(0, 40), max_size=60),
    boundaries=st.sets(st.integers(1, 30), min_size=1, max_size=4).map(sorted),
    batch_size=st.integers(1, 7),
)
def test_every_example_is_in_one_bucket_that_it_fits(lengths, boundaries, batch_size):
    buckets = fill_buckets(np.array(lengths, np.int32), boundaries, batch_size)
    assert sorted(i for _, members in buckets for i in members) == list(range(len(lengths)))
    for number, (time, members) in enumerate(buckets):
        assert time in boundaries or time % boundaries[-1] == 0
        assert all(lengths[i] <= time for i in members)
        assert sorted(members, key=lambda i: lengths[i]) == list(members)
        assert number == 0 or len(members) % batch_size == 0  # only the shortest examples share a batch with filler
    times = [time for time, _ in buckets]
    assert times == sorted(set(times))


def test_longer_examples_are_padded_to_multiples_of_the_last_boundary():
    lengths = np.array([3, 9, 10, 11, 29, 30, 31])
    found = {time: lengths[members].tolist() for time, members in fill_buckets(lengths, (5, 10), 1)}
    assert found == {5: [3], 10: [9, 10], 20: [11], 30: [29, 30], 40: [31]}
