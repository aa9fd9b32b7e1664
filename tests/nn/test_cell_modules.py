"""Cells: one step of each, with every option, against NumPy; their carries, and their axes."""

import by_hand
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from layer_cases import BATCH, FEATURES, HIDDEN, assert_close

from jaxrnn import core, nn

CASES = {
    "elman": (nn.ElmanCell, {}),
    "elman relu": (nn.ElmanCell, {"activation": "relu"}),
    "lstm": (nn.LSTMCell, {}),
    "projection": (nn.LSTMCell, {"projection_features": 3}),
    "peephole": (nn.LSTMCell, {"peephole": True}),
    "lstm layer_norm": (nn.LSTMCell, {"layer_norm": True}),
    "all of the LSTM's": (
        nn.LSTMCell,
        {"projection_features": 3, "peephole": True, "layer_norm": True, "double_bias": True, "learn_state": True},
    ),
    "gru": (nn.GRUCell, {}),
    "gru reset before": (nn.GRUCell, {"reset_after": False}),
    "gru reset before, two biases": (nn.GRUCell, {"reset_after": False, "double_bias": True}),
    "gru layer_norm": (nn.GRUCell, {"layer_norm": True}),
    "gru layer_norm, two biases": (nn.GRUCell, {"layer_norm": True, "double_bias": True}),
}
step = nnx.jit(lambda cell, carry, x: cell(carry, x))


@pytest.mark.parametrize("case", CASES)
def test_a_step(case, rng):
    cell_type, options = CASES[case]
    cell = cell_type(FEATURES, HIDDEN, init="torch", rngs=nnx.Rngs(0), **options)
    for param in cell.weights().values():  # gains that are not one, too
        param[...] = rng.normal(size=param.shape).astype(np.float32) / 2
    x = rng.normal(size=(BATCH, FEATURES)).astype(np.float32)
    carry = cell.core_cell.state_type(*(rng.normal(size=(BATCH, n)).astype(np.float32) for n in cell.state_widths))
    new, y = step(cell, carry, x)
    expected = by_hand.step(cell, x, carry)
    for part, value in zip(new, expected, strict=True):
        assert_close(part, value)
    np.testing.assert_array_equal(y, new.h)
    assert cell.out_features == y.shape[-1] == expected[0].shape[-1]


def test_carries():
    cell = nn.LSTMCell(FEATURES, HIDDEN, projection_features=3, init="torch", rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((2, BATCH, FEATURES))
    assert (carry.h.shape, carry.c.shape) == ((2, BATCH, 3), (2, BATCH, HIDDEN))
    assert not np.any(carry.h)
    assert not np.any(carry.c)
    assert nn.GRUCell(3, 4, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0)).initialize_carry((3,)).h.dtype == jnp.float32
    learnt = nn.LSTMCell(FEATURES, HIDDEN, learn_state=True, init="torch", rngs=nnx.Rngs(0))
    learnt.initial_c[...] = jnp.arange(HIDDEN, dtype=jnp.float32)
    carry = learnt.initialize_carry((BATCH, FEATURES))
    np.testing.assert_array_equal(carry.c, np.tile(np.arange(HIDDEN), (BATCH, 1)))
    np.testing.assert_array_equal(carry.h, np.zeros((BATCH, HIDDEN)))


def test_without_and_with_more_batch_axes(rng):
    cell = nn.GRUCell(FEATURES, HIDDEN, init="torch", rngs=nnx.Rngs(0))
    assert cell.num_feature_axes == 1
    x, h = (rng.normal(size=(2, BATCH, n)).astype(np.float32) for n in (FEATURES, HIDDEN))
    _, y = step(cell, core.GRUState(h), x)
    for k in range(2):
        assert_close(y[k], by_hand.step(cell, x[k], (h[k],))[0])
    assert_close(step(cell, core.GRUState(h[0, 0]), x[0, 0])[1], y[0, 0])
