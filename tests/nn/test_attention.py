"""Attention over states, against NumPy row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import nn

BATCH, TIME, QUERY, STATE, HIDDEN = 4, 6, 3, 5, 7
LENGTHS = np.array([6, 3, 1, 0], np.int32)
MASK = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)


def make(kind, **options):
    rngs = nnx.Rngs(0)
    if kind == "dot":
        return nn.DotAttention(QUERY, STATE, rngs=rngs, **options)
    attention = nn.AdditiveAttention(QUERY, STATE, HIDDEN, rngs=rngs, **options)
    attention.query.bias[...] = jnp.linspace(-1, 1, HIDDEN)  # it starts at zero, which would hide it
    return attention


def by_hand(kind, attention, query, states, valid):
    """The mean and the weights of one row, from its valid steps alone."""
    mean, weights = np.zeros(STATE), np.zeros(len(states))
    w_query = np.asarray(attention.query.kernel[...], np.float64)
    if kind == "dot":
        scores = [query @ w_query @ state / np.sqrt(STATE) for state in states]
    else:
        w_state, score = (np.asarray(part.kernel[...], np.float64) for part in (attention.state, attention.score))
        b = np.asarray(attention.query.bias[...], np.float64)
        scores = [np.tanh(query @ w_query + state @ w_state + b) @ score[:, 0] for state in states]
    if valid.any():
        shares = np.exp(np.array(scores)[valid])
        weights[valid] = shares / shares.sum()
        mean = weights[valid] @ states[valid]
    return mean, weights


@pytest.fixture
def inputs(rng):
    return rng.normal(size=(BATCH, QUERY)).astype("f"), 2 * rng.normal(size=(BATCH, TIME, STATE)).astype("f")


@pytest.mark.parametrize("by", ["lengths", "mask", "neither"])
@pytest.mark.parametrize("kind", ["additive", "dot"])
def test_equals_numpy_row_by_row(kind, by, inputs):
    query, states = inputs
    attention = make(kind)
    steps = np.arange(TIME)
    valid = {"lengths": steps < LENGTHS[:, None], "mask": MASK, "neither": np.ones((BATCH, TIME), bool)}[by]
    mean, weights = attention(query, states, **{"lengths": {"lengths": LENGTHS}, "mask": {"mask": MASK}}.get(by, {}))
    for row in range(BATCH):
        expected = by_hand(kind, attention, query[row], states[row], valid[row])
        np.testing.assert_allclose(mean[row], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weights[row], expected[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["additive", "dot"])
def test_padding_even_nan_changes_nothing_and_gets_no_gradient(kind, inputs):
    query, states = inputs
    valid = np.arange(TIME) < LENGTHS[:, None]
    spoilt = np.where(valid[..., None], states, np.nan)

    def loss(attention, query, states):
        mean, weights = attention(query, states, lengths=LENGTHS)
        return (mean**2).sum() + (weights**3).sum()

    graph, params = nnx.split(make(kind))
    gradient = jax.jit(jax.grad(lambda *args: loss(nnx.merge(graph, args[0]), *args[1:]), argnums=(0, 1, 2)))
    clean, dirty = gradient(params, query, states), gradient(params, query, spoilt)
    assert jax.tree.all(jax.tree.map(np.array_equal, clean, dirty))
    assert not np.any(np.asarray(dirty[2])[~valid])
    assert np.all(np.abs(np.asarray(dirty[2])[valid]).max(-1) > 0)


def test_the_gradient_is_that_of_finite_differences(inputs, x64):
    query, states = (np.asarray(each, np.float64) for each in inputs)
    attention = nn.AdditiveAttention(QUERY, STATE, HIDDEN, rngs=nnx.Rngs(0))

    def loss(states):
        mean, _ = attention(query, states, lengths=LENGTHS)
        return (mean**2).sum()

    direction = np.random.default_rng(1).normal(size=states.shape)
    numeric = (loss(states + 1e-5 * direction) - loss(states - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose((jax.grad(loss)(states) * direction).sum(), numeric, rtol=1e-6)


def test_large_scores_do_not_overflow(inputs):
    query, states = inputs
    mean, weights = make("dot")(1e20 * query, states, lengths=LENGTHS)
    np.testing.assert_allclose(weights.sum(1), LENGTHS > 0, rtol=1e-6)
    assert np.isfinite(mean).all()


def test_time_major_is_the_same_transposed(inputs):
    query, states = inputs
    mean, weights = make("additive")(query, states, mask=MASK)
    other, turned = make("additive", time_major=True)(query, states.swapaxes(0, 1), mask=MASK.T)
    np.testing.assert_array_equal(other, mean)
    np.testing.assert_array_equal(turned, weights.T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": np.ones((BATCH, 4), "f")}, r"query: expected floats \[4, 3\], got float32 \[4, 4\]"),
        ({"query": np.ones((1, QUERY), "f")}, r"query: expected floats \[4, 3\], got float32 \[1, 3\]"),
        ({"states": np.ones((4, 6, 4), "f")}, r"states: expected floats \[batch, time, 5\], got float32 \[4, 6, 4\]"),
        ({"states": np.ones((4, 6, 5), int)}, r"states: expected floats \[batch, time, 5\], got int32 \[4, 6, 5\]"),
        ({"lengths": np.array([7, 0, 0, 0])}, r"lengths: expected 0 to 6, the number of steps, got 0 to 7"),
        ({"mask": MASK, "lengths": LENGTHS}, r"mask: expected None beside lengths, got both"),
        ({"mask": MASK.T}, r"mask: expected booleans \[4, 6\], got bool \[6, 4\]"),
    ],
)
def test_complaints(change, message, inputs):
    arguments = {"query": inputs[0], "states": inputs[1]} | change
    with pytest.raises(ValueError, match=f"^{message}$"):
        make("dot")(arguments.pop("query"), arguments.pop("states"), **arguments)
