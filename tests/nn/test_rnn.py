"""`nn.RNN` over cells of this library, of Flax and of the user, against a loop over rows and steps by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import nn

LENGTHS = np.array([5, 0, 3])
VALID = np.arange(5) < LENGTHS[:, None]
GAPS = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]], bool)  # holes; nothing; padding on the left
RESETS = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]], bool)
step = nnx.jit(lambda cell, carry, x: cell(carry, x))  # compiled once for all cells that are alike


class LeakyCell(nnx.Module):
    """A cell as a user would write it: the protocol, and nothing else; its carry is a dict."""

    def __init__(self, in_features, hidden_features, *, rngs):
        self.linear = nnx.Linear(in_features, hidden_features, rngs=rngs)
        self.decay = nnx.Param(jnp.full(hidden_features, 0.5))

    def initialize_carry(self, input_shape, rngs=None):
        return {"h": jnp.zeros((*input_shape[:-1], self.linear.out_features))}

    def __call__(self, carry, x):
        h = self.decay[...] * carry["h"] + self.linear(x)
        return {"h": h}, jnp.tanh(h)


class Steps(nnx.Variable):
    """State of a cell's own."""


class CountingCell(LeakyCell):
    """A cell that changes itself: it counts its steps, and its output depends on the count."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steps = Steps(jnp.zeros(()))

    def __call__(self, carry, x):
        self.steps[...] += 1
        carry, y = super().__call__(carry, x)
        return carry, y * self.steps[...]


CELLS = {
    "ElmanCell": nn.ElmanCell,
    "LSTMCell": nn.LSTMCell,
    "GRUCell": nn.GRUCell,
    "flax SimpleCell": nnx.SimpleCell,
    "flax GRUCell": nnx.GRUCell,
    "flax OptimizedLSTMCell": nnx.OptimizedLSTMCell,
    "user": LeakyCell,
}


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 5, 4)).astype(np.float32)


def make(name):
    return CELLS[name](4, 6, rngs=nnx.Rngs(0))


def loop(cell, x, carry, valid, reverse=False, starts=None):
    """Row by row and step by step: outputs [batch, time, hidden], and each row's last carry.

    A sequence that `starts` inside a row starts from the cell's initial carry; in reverse, the one before it does.
    """
    starts = np.zeros(valid.shape, bool) if starts is None else starts
    y = np.zeros((*x.shape[:2], 6), np.float32)
    last = []
    for row, steps in enumerate(valid):
        c = jax.tree.map(lambda a, row=row: a[row : row + 1], carry)
        initial = cell.initialize_carry((1, x.shape[-1]), rngs=nnx.Rngs(0))
        for t in reversed(range(5)) if reverse else range(5):
            if starts[row, t] and not reverse:
                c = initial
            if steps[t]:
                c, out = step(cell, c, x[row : row + 1, t])
                y[row, t] = out[0]
            if starts[row, t] and reverse and t > 0:
                c = initial
        last.append(c)
    return y, jax.tree.map(lambda *rows: jnp.concatenate(rows), *last)


def assert_close(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), actual, expected)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", CELLS)
def test_equals_a_loop_by_hand(name, reverse, x, rng):
    cell = make(name)
    carry = jax.tree.map(
        lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), cell.initialize_carry((3, 4), rngs=nnx.Rngs(0))
    )
    expected = loop(cell, x, carry, VALID, reverse)
    padded = x.copy()
    padded[1], padded[2, 3:] = np.nan, np.nan
    assert_close(nn.RNN(cell, reverse=reverse)(padded, lengths=LENGTHS, state=carry), expected)


@pytest.mark.parametrize("name", ["LSTMCell", "flax GRUCell", "user"])
def test_without_lengths_or_state_and_time_major(name, x):
    cell = make(name)
    expected = loop(cell, x, cell.initialize_carry((3, 4), rngs=nnx.Rngs(0)), np.ones((3, 5), bool))
    y, state = nn.RNN(cell)(x)
    assert_close((y, state), expected)
    y_2, state_2 = nn.RNN(cell, time_major=True)(x.swapaxes(0, 1))
    assert_close((y_2.swapaxes(0, 1), state_2), expected)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", ["LSTMCell", "flax GRUCell", "user"])
def test_mask_with_gaps_and_resets(name, reverse, x, rng):
    """And time-major, with what a mask hides being NaN."""
    cell = make(name)
    carry = jax.tree.map(
        lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), cell.initialize_carry((3, 4), rngs=nnx.Rngs(0))
    )
    expected = loop(cell, x, carry, GAPS, reverse, RESETS)
    x = np.where(GAPS[..., None], x, np.float32(np.nan)).swapaxes(0, 1)
    y, state = nn.RNN(cell, reverse=reverse, time_major=True)(x, mask=GAPS.T, resets=RESETS.T, state=carry)
    assert_close((y.swapaxes(0, 1), state), expected)


@pytest.mark.parametrize("name", ["GRUCell", "user"])
def test_mask_and_resets_batch_major(name, x):
    cell = make(name)
    y, state = nn.RNN(cell)(x, mask=GAPS, resets=RESETS)
    y_2, state_2 = nn.RNN(cell, time_major=True)(x.swapaxes(0, 1), mask=GAPS.T, resets=RESETS.T)
    np.testing.assert_array_equal(y, y_2.swapaxes(0, 1))
    jax.tree.map(np.testing.assert_array_equal, state, state_2)


def test_a_layer_of_one_cell_is_the_same(x):
    layer = nn.GRU(4, 6, rngs=nnx.Rngs(0))
    y, state = layer(x, lengths=LENGTHS)
    y_2, state_2 = nn.RNN(layer.cells[0])(x, lengths=LENGTHS)
    np.testing.assert_array_equal(y, y_2)
    np.testing.assert_array_equal(state.h[0], state_2.h)


def test_flaxs_own_rnn_takes_our_cells(x):
    cell = make("LSTMCell")
    y, _ = nn.RNN(cell)(x)
    np.testing.assert_allclose(nnx.RNN(cell)(x), y, atol=2e-6)


@pytest.mark.parametrize("name", ["LSTMCell", "flax GRUCell", "user"])
def test_under_jit_and_grad(name, x):
    rnn = nn.RNN(make(name))
    weights = np.random.default_rng(1).normal(size=(3, 5, 6)).astype(np.float32)

    @nnx.jit
    def gradient(rnn, x):
        def loss(rnn, x):
            return (rnn(x, lengths=LENGTHS)[0] * weights).sum()

        return nnx.grad(loss, argnums=(0, 1))(rnn, x)

    graph, params, rest = nnx.split(rnn.cell, nnx.Param, ...)

    def unrolled(params, x):
        """The same loss with a Python loop over time, differentiated by JAX alone."""
        cell = nnx.merge(graph, params, rest)
        carry, total = cell.initialize_carry((3, 4), rngs=nnx.Rngs(0)), 0.0
        for t in range(5):
            carry, y = cell(carry, x[:, t])
            total += (y * weights[:, t] * (t < LENGTHS)[:, None]).sum()
        return total

    d_rnn, d_x = gradient(rnn, x)
    expected, expected_x = jax.jit(jax.grad(unrolled, argnums=(0, 1)))(params, x)
    for actual, e in zip(jax.tree.leaves(d_rnn), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(actual, e, rtol=0, atol=1e-5 * np.abs(e).max())
    np.testing.assert_allclose(d_x, expected_x, rtol=0, atol=1e-5 * np.abs(expected_x).max())
    assert not np.any(d_x[1])
    assert not np.any(d_x[2, 3:])


def test_a_cell_with_state_of_its_own(x):
    """It is carried along the steps, and what it became stays in the cell."""
    cell, plain = CountingCell(4, 6, rngs=nnx.Rngs(0)), make("user")
    y, _ = nn.RNN(cell)(x)
    expected, _ = nn.RNN(plain)(x)
    np.testing.assert_allclose(y, expected * np.arange(1, 6)[:, None], atol=1e-5)
    assert float(cell.steps[...]) == 5
    nnx.jit(lambda rnn, x: rnn(x))(nn.RNN(cell), x)
    assert float(cell.steps[...]) == 10


class SumCell(nnx.Module):
    """A cell over inputs of any rank: the running sum of its inputs."""

    def initialize_carry(self, input_shape, rngs=None):
        return jnp.zeros(input_shape)

    def __call__(self, carry, x):
        carry = carry + x
        return carry, carry


@pytest.mark.parametrize("shape", [(2,), (5, 3), (3, 5), (2, 3, 4)])
def test_inputs_of_more_axes(shape, rng):
    """[batch, time, height, width], say; with as many as there are rows and steps it is no different."""
    x = rng.normal(size=(3, 5, *shape)).astype(np.float32)
    x[~VALID] = np.nan
    y, carry = nn.RNN(SumCell())(x, lengths=LENGTHS)
    mask = VALID.reshape(3, 5, *[1] * len(shape))
    expected = np.cumsum(np.where(mask, x, 0), axis=1)
    np.testing.assert_allclose(y, np.where(mask, expected, 0), atol=1e-6)
    np.testing.assert_allclose(carry, expected[:, -1], atol=1e-6)
