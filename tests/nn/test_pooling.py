"""Pooling over time, against NumPy row by row."""

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrnn import nn

BATCH, TIME, FEATURES = 4, 6, 5
LENGTHS = np.array([6, 3, 1, 0], np.int32)
MASK = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
KINDS = ("attention", "max", "last", "mean")


def make(kinds, **options):
    return nn.Pooling(kinds, FEATURES, rngs=nnx.Rngs(0), **options)


@pytest.fixture
def inputs(rng):
    """Outputs, all of them below zero so that a zero of the padding would be the maximum, and final states."""
    return -np.exp(rng.normal(size=(BATCH, TIME, FEATURES))).astype("f"), rng.normal(size=(BATCH, FEATURES)).astype("f")


def by_hand(pooling, kind, y, last, valid):
    """One kind for one row, from its valid steps alone."""
    if kind == "last":
        return last
    if not valid.any():
        return np.zeros(FEATURES)
    if kind == "attention":  # of these steps alone, without a mask; tests/nn/test_attention.py has its numbers
        return pooling.attention(last[None], y[valid][:, None])[0][0]
    return getattr(np, kind)(y[valid], axis=0)


@pytest.mark.parametrize("attention", ["additive", "dot"])
@pytest.mark.parametrize("by", ["lengths", "mask"])
def test_several_kinds_stand_side_by_side(by, attention, inputs):
    y, last = inputs
    pooling = make(KINDS, attention=attention)
    valid = MASK if by == "mask" else np.arange(TIME) < LENGTHS[:, None]
    pooled = pooling(y, last, **({"mask": MASK} if by == "mask" else {"lengths": LENGTHS}))
    assert pooled.shape == (BATCH, pooling.out_features) == (BATCH, 4 * FEATURES)
    for row in range(BATCH):
        expected = np.concatenate([by_hand(pooling, kind, y[row], last[row], valid[row]) for kind in KINDS])
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_by_its_name_without_lengths(kind, inputs):
    y, last = inputs
    pooling = make(kind)
    every = np.ones(TIME, bool)
    expected = [by_hand(pooling, kind, *row, every) for row in zip(y, last, strict=True)]
    np.testing.assert_allclose(pooling(y, last), expected, rtol=1e-5, atol=1e-6)


def test_padding_even_nan_changes_nothing_and_gets_no_gradient(inputs):
    y, last = inputs
    valid = np.arange(TIME) < LENGTHS[:, None]
    pooling = make(KINDS)
    gradient = jax.jit(jax.grad(lambda y: (pooling(y, last, lengths=LENGTHS) ** 2).sum()))
    clean, dirty = gradient(y), gradient(np.where(valid[..., None], y, np.nan))
    np.testing.assert_array_equal(dirty, clean)
    assert not np.any(np.asarray(dirty)[~valid])
    assert np.all(np.asarray(dirty)[valid])


def test_time_major_is_the_same(inputs):
    y, last = inputs
    other = make(KINDS, time_major=True)(y.swapaxes(0, 1), last, mask=MASK.T)
    np.testing.assert_array_equal(other, make(KINDS)(y, last, mask=MASK))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("kinds", ["sum", ("max", "max"), ()])
def test_other_kinds_are_refused(kinds):
    with pytest.raises(ValueError, match=r"^pooling: expected one or more of last, mean, max, attention, none twice"):
        make(kinds)


@pytest.mark.usefixtures("unchecked_types")
def test_another_attention_is_refused():
    with pytest.raises(ValueError, match=r"^attention: expected 'additive' or 'dot', got 'cosine'$"):
        make("max", attention="cosine")
