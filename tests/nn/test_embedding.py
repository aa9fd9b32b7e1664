"""`nn.Embed`: Flax's embedding, with whole words dropped."""

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
