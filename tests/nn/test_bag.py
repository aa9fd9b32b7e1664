"""Ratios and the bag against NumPy and sets of Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx as flax_nnx

from jaxrnn import nn

WORDS, RUNS, FOLDS = 6, 5, 3
TIME, BATCH = 7, 4


def make(num_outputs, seed=0):
    rng = np.random.default_rng(seed)
    ratios = nn.Ratios(WORDS, RUNS, FOLDS, num_outputs)
    bag = nn.Bag(WORDS + RUNS, num_outputs)
    ratios.table[...] = jnp.asarray(rng.normal(size=(FOLDS + 1, WORDS + RUNS, num_outputs)), jnp.float32)
    bag.weight[...] = jnp.asarray(rng.normal(size=(WORDS + RUNS, num_outputs)), jnp.float32)
    tokens = np.stack([rng.integers(0, WORDS, (TIME, BATCH)), rng.integers(0, RUNS, (TIME, BATCH))], -1)
    return ratios, bag, tokens.astype(np.int32)


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("folds", [None, np.array([0, 2, 1, 2], np.int32)])
def test_ratios_are_those_of_the_fold_or_of_all(num_outputs, folds):
    ratios, _, tokens = make(num_outputs)
    table = np.asarray(ratios.table[...])
    found = np.asarray(ratios(ratios.rows(tokens), folds))
    for t in range(TIME):
        for b in range(BATCH):
            of = table[FOLDS if folds is None else folds[b]]
            np.testing.assert_array_equal(found[t, b, 0], of[tokens[t, b, 0]])
            np.testing.assert_array_equal(found[t, b, 1], of[WORDS + tokens[t, b, 1]])
    np.testing.assert_array_equal(ratios(ratios.rows(tokens[..., 0]), folds), found[:, :, :1])


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_a_text_counts_each_word_and_run_once(num_outputs):
    ratios, bag, tokens = make(num_outputs)
    rows = ratios.rows(tokens)
    terms = np.asarray(bag(rows, ratios(rows)))
    weight, table = np.asarray(bag.weight[...]), np.asarray(ratios.table[...])[-1]
    for b in range(BATCH):
        seen = set()
        for t in range(TIME):
            here = {int(tokens[t, b, 0]), WORDS + int(tokens[t, b, 1])} - seen
            expected = sum((weight[row] * table[row] for row in here), np.zeros(num_outputs))
            np.testing.assert_allclose(terms[t, b], expected, rtol=1e-5, atol=1e-6)
            seen |= here
        assert len(seen) < 2 * TIME  # something did occur again


def test_a_run_that_ends_twice_at_once_counts_once():
    ratios, bag, _ = make(1)
    rows = ratios.rows(np.array([[[2, 3, 3]]], np.int32))
    table, weight = np.asarray(ratios.table[...])[-1], np.asarray(bag.weight[...])
    expected = weight[2] * table[2] + weight[WORDS + 3] * table[WORDS + 3]
    np.testing.assert_allclose(bag(rows, ratios(rows))[0, 0], expected, rtol=1e-6)


def test_ratios_are_not_trained():
    ratios, bag, tokens = make(1)

    def loss(ratios, bag):
        rows = ratios.rows(tokens)
        return (bag(rows, ratios(rows)) ** 2).sum()

    of_ratios, of_bag = flax_nnx.grad(loss, argnums=(0, 1))(ratios, bag)
    assert not jnp.any(of_ratios.table[...])
    assert jnp.abs(of_bag.weight[...]).max() > 0.1
    assert not jax.tree.leaves(of_bag.bias[...])[0].any()  # the caller adds it
