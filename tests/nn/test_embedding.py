"""`nn.Embed`: Flax's embedding, with its vectors normalised and whole words dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import nn

WORDS, FEATURES, RATE = 400, 3, 0.25
TOKENS = np.random.default_rng(0).integers(WORDS, size=(5, 300))
look_up = nnx.jit(lambda embed, tokens, **kwargs: embed(tokens, **kwargs))


def make(rate=RATE, seed=0):
    return nn.Embed(WORDS, FEATURES, dropout_rate=rate, rngs=nnx.Rngs(seed))


def factors(embed, **kwargs):
    """What each word's vector was multiplied by, from every place where it occurs: [places]."""
    ratio = np.asarray(look_up(embed, TOKENS, **kwargs)) / np.asarray(embed.embedding[...])[TOKENS]
    np.testing.assert_allclose(ratio, ratio[..., :1].repeat(FEATURES, -1), rtol=1e-6)  # the whole vector
    return ratio[..., 0].ravel()


def test_a_dropped_word_is_zero_wherever_it_occurs():
    factor = factors(make())
    by_word = {word: set(factor[TOKENS.ravel() == word].round(5)) for word in np.unique(TOKENS)}
    assert all(len(found) == 1 for found in by_word.values())
    dropped = [found == {0} for found in by_word.values()]
    assert abs(np.mean(dropped) - RATE) < 4 * np.sqrt(RATE * (1 - RATE) / len(by_word))
    np.testing.assert_allclose(factor[factor > 0], 1 / (1 - RATE), rtol=1e-6)


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_is_flaxs_embedding_at_evaluation(rate):
    embed = make(rate)
    embed.eval()
    np.testing.assert_array_equal(look_up(embed, TOKENS), nnx.Embed(WORDS, FEATURES, rngs=nnx.Rngs(0))(TOKENS))


def test_without_a_rate_nothing_is_dropped():
    np.testing.assert_array_equal(factors(make(0.0)), 1)


def test_the_key_decides():
    embed = make()
    first, second = factors(embed), factors(embed)
    assert np.any(first != second)
    np.testing.assert_array_equal(factors(make()), first)
    a, b, c = (factors(embed, rngs=nnx.Rngs(dropout=key)) for key in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.any(a != c)


def test_dropped_words_get_no_gradient():
    embed = make()
    dropped = np.unique(TOKENS.ravel()[factors(embed, rngs=nnx.Rngs(dropout=3)) == 0])
    gradient = nnx.grad(lambda embed: embed(TOKENS, rngs=nnx.Rngs(dropout=3)).sum())(embed)["embedding"][...]
    assert dropped.size > 50
    assert not np.any(gradient[dropped])
    kept = np.setdiff1d(TOKENS, dropped)
    assert np.all(gradient[kept] > 0)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range(rate):
    with pytest.raises(ValueError, match=rf"^dropout_rate: expected 0 <= rate < 1, got {rate}$"):
        make(rate)


FREQUENCIES = np.random.default_rng(1).integers(0, 50, WORDS)


def normalised_by_hand(table):
    """Each feature with mean 0 and variance 1 over a text's words, in float64."""
    counts = FREQUENCIES[:, None].astype(np.float64)
    mean = (counts * table).sum(0) / counts.sum()
    return (table - mean) / np.sqrt((counts * (table - mean) ** 2).sum(0) / counts.sum() + 1e-6)


def make_normalised(**options):
    embed = nn.Embed(WORDS, FEATURES, frequencies=FREQUENCIES, rngs=nnx.Rngs(0), **options)
    embed.embedding[...] = embed.embedding[...] * jnp.array([0.1, 1, 20]) + jnp.array([1, 0, -7])
    return embed


def test_normalised_vectors_equal_numpys():
    embed = make_normalised()
    expected = normalised_by_hand(np.asarray(embed.embedding[...], np.float64))
    np.testing.assert_allclose(look_up(embed, TOKENS), expected[TOKENS], rtol=1e-5, atol=1e-5)
    weights = FREQUENCIES / FREQUENCIES.sum()
    every = np.asarray(embed(np.arange(WORDS)), np.float64)
    np.testing.assert_allclose(weights @ every, 0, atol=1e-5)
    np.testing.assert_allclose(weights @ every**2, 1, rtol=1e-3)


def test_the_gradient_goes_through_the_normalisation(x64):
    table = np.random.default_rng(2).normal(size=(WORDS, FEATURES))

    def loss(table):
        embed = nn.Embed(WORDS, FEATURES, frequencies=FREQUENCIES, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        embed.embedding[...] = table
        return (embed(TOKENS) ** 3).sum()

    direction = np.random.default_rng(3).normal(size=table.shape)
    numeric = (loss(table + 1e-5 * direction) - loss(table - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose((jax.grad(loss)(jnp.asarray(table)) * direction).sum(), numeric, rtol=1e-4)


def test_normalisation_then_dropout_and_only_the_embedding_is_trained():
    embed = make_normalised(dropout_rate=RATE)
    dropped = np.asarray(look_up(embed, TOKENS, rngs=nnx.Rngs(dropout=1)))
    embed.eval()
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], (np.asarray(embed(TOKENS)) / (1 - RATE))[kept], rtol=1e-5)
    assert list(nnx.state(embed, nnx.Param)) == ["embedding"]


def test_equal_vectors_stay_finite():
    embed = make_normalised()
    embed.embedding[...] = jnp.ones((WORDS, FEATURES))
    np.testing.assert_allclose(embed(TOKENS), 0, atol=1e-3)


@pytest.mark.parametrize("frequencies", [np.ones(WORDS - 1), np.zeros(WORDS), -np.ones(WORDS), np.full(WORDS, np.nan)])
def test_wrong_frequencies(frequencies):
    with pytest.raises(ValueError, match=rf"^frequencies: expected {WORDS} numbers of at least 0, not all of them 0$"):
        nn.Embed(WORDS, FEATURES, frequencies=frequencies, rngs=nnx.Rngs(0))
