"""Ratios and the bag against NumPy and sets of Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.applications.classification.bag import Bag, Ratios
from jaxrnn.training import split_model

WORDS, NGRAMS, FOLDS = 6, 5, 3
TIME, BATCH = 7, 4


def make(num_outputs, seed=0):
    """Ratios and a bag with random numbers, and rows `[time, batch, 2]`: a word and an n-gram at each token."""
    rng = np.random.default_rng(seed)
    ratios = Ratios(rng.normal(size=(FOLDS + 1, WORDS + NGRAMS, num_outputs)).astype(np.float32))
    bag = Bag(WORDS + NGRAMS, num_outputs)
    bag.weight[...] = jnp.asarray(rng.normal(size=(WORDS + NGRAMS, num_outputs)), jnp.float32)
    rows = [rng.integers(0, WORDS, (TIME, BATCH)), rng.integers(WORDS, WORDS + NGRAMS, (TIME, BATCH))]
    return ratios, bag, jnp.asarray(np.stack(rows, -1), jnp.int32)


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("folds", [None, np.array([0, 2, 1, 2], np.int32)])
def test_ratios_are_those_of_the_fold_or_of_all(num_outputs, folds):
    ratios, _, rows = make(num_outputs)
    table = np.asarray(ratios.table[...])
    looked_up = np.asarray(ratios(rows, folds))
    for t in range(TIME):
        for b in range(BATCH):
            of_fold = table[FOLDS if folds is None else folds[b]]
            np.testing.assert_array_equal(looked_up[t, b], of_fold[rows[t, b]])
    np.testing.assert_array_equal(ratios(rows[..., :1], folds), looked_up[:, :, :1])


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_a_text_counts_each_word_and_ngram_once(num_outputs):
    ratios, bag, rows = make(num_outputs)
    terms = np.asarray(bag(rows, ratios(rows)))
    weight, table = np.asarray(bag.weight[...]), np.asarray(ratios.table[...])[-1]
    for b in range(BATCH):
        seen = set()
        for t in range(TIME):
            here = {*np.asarray(rows[t, b]).tolist()} - seen
            expected = sum((weight[row] * table[row] for row in here), np.zeros(num_outputs))
            np.testing.assert_allclose(terms[t, b], expected, rtol=1e-5, atol=1e-6)
            seen |= here
        assert len(seen) < 2 * TIME  # something did occur again


def test_an_ngram_that_ends_twice_at_one_token_counts_once():
    ratios, bag, _ = make(1)
    rows = jnp.array([[[2, WORDS + 3, WORDS + 3]]])
    table, weight = np.asarray(ratios.table[...])[-1], np.asarray(bag.weight[...])
    expected = weight[2] * table[2] + weight[WORDS + 3] * table[WORDS + 3]
    np.testing.assert_allclose(bag(rows, ratios(rows))[0, 0], expected, rtol=1e-6)


def test_ratios_are_not_trained():
    ratios, bag, rows = make(1)
    parts = nnx.Dict(ratios=ratios, bag=bag)
    split = split_model(parts)
    assert split.parameters.keys() == {"bag.weight", "bag.bias"}
    np.testing.assert_array_equal(split.rest["ratios"]["table"][...], ratios.table[...])

    def loss(parameters):
        merged = split.merge(parameters, split.rest)
        return (merged.bag(rows, merged.ratios(rows)) ** 2).sum()

    gradient = jax.grad(loss)(split.parameters)
    assert jnp.abs(gradient["bag.weight"]).max() > 0.1
    assert not gradient["bag.bias"].any()  # the caller adds it
