"""`nn.WordDropout`: which tokens become unknown."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import nn

RATE, UNKNOWN = 0.3, 1
TOKENS = jnp.asarray(np.random.default_rng(0).integers(2, 90, size=(50, 40)))  # [time, batch]


def make(rate=RATE, **options):
    return nn.WordDropout(rate, rngs=nnx.Rngs(0), **options)


def test_tokens_are_replaced_each_by_itself():
    tokens = make(unknown_id=UNKNOWN)(TOKENS)
    replaced = np.asarray(tokens) != TOKENS
    assert set(np.asarray(tokens)[replaced]) == {UNKNOWN}
    assert abs(replaced.mean() - RATE) < 4 * np.sqrt(RATE * (1 - RATE) / TOKENS.size)
    together = (replaced[1:] & replaced[:-1]).mean(), (replaced[:, 1:] & replaced[:, :-1]).mean()
    np.testing.assert_allclose(together, RATE**2, atol=0.03)


def test_the_key_decides_and_evaluation_changes_nothing():
    dropout = make()
    a, b, c = (np.asarray(dropout(TOKENS, rngs=nnx.Rngs(dropout=key))) for key in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.any(a != c)
    np.testing.assert_array_equal(make(0.0)(TOKENS), TOKENS)
    dropout.eval()
    np.testing.assert_array_equal(dropout(TOKENS), TOKENS)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_out_of_range(rate):
    with pytest.raises(ValueError, match=rf"^word_dropout_rate: expected 0 <= rate < 1, got {rate}$"):
        make(rate)
