"""Layers: their parameters, order of states, directions, dropout, options, and Flax's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import core, nn

LAYERS = {"elman": nn.Elman, "lstm": nn.LSTM, "gru": nn.GRU}
LENGTHS = np.array([5, 0, 3])
# Compiled once for all layers that are alike.
call = nnx.jit(lambda layer, x, **kwargs: layer(x, **kwargs))
step = nnx.jit(lambda layer, x, carry: layer.step(x, carry))


def make(name, *args, seed=0, init="torch", **kwargs):  # whose biases are not zero
    return LAYERS[name](*args, init=init, rngs=nnx.Rngs(seed), **kwargs)


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 5, 4)).astype(np.float32)  # [batch, time, features]


def shapes(module):
    return {"/".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(module, nnx.Param))}


def count(*args, **kwargs):
    layer = nnx.eval_shape(lambda: make(*args, **kwargs))  # nothing is drawn
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))


def test_parameter_tree():
    assert shapes(make("lstm", 4, 6, 2, bidirectional=True)) == {
        f"cells/{k}/{name}": shape
        for k, width in enumerate([4, 4, 12, 12])
        for name, shape in {"b": (4, 6), "w_h": (6, 4, 6), "w_x": (width, 4, 6)}.items()
    }
    gru = {"cells/0/b": (3, 6), "cells/0/w_h": (6, 3, 6), "cells/0/w_x": (4, 3, 6)}
    assert shapes(make("gru", 4, 6)) == gru | {"cells/0/b_hn": (6,)}
    assert shapes(make("gru", 4, 6, reset_after=False)) == gru
    assert shapes(make("elman", 4, 6)) == {"cells/0/b": (1, 6), "cells/0/w_h": (6, 1, 6), "cells/0/w_x": (4, 1, 6)}


def test_parameter_counts():
    # The reference application's LSTM: PyTorch's 2,310,144, less one of its two biases in 4 cells of 4 · 256.
    assert count("lstm", 100, 256, 2, bidirectional=True) == 2_310_144 - 4 * 4 * 256
    assert count("gru", 100, 256) == 3 * 256 * (100 + 256 + 1) + 256
    assert count("elman", 100, 256) == 256 * (100 + 256 + 1)


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_state_order_from_calls_of_the_core(name, x, tolerance):
    """Two bidirectional layers, put together by hand from unidirectional core calls."""
    layer = make(name, 4, 6, 2, bidirectional=True, seed=3)
    state_type = layer.cells[0].core_cell.state_type
    initial = state_type(*np.random.default_rng(1).normal(size=(len(state_type._fields), 4, 3, 6)).astype(np.float32))
    y, state = call(layer, x, lengths=LENGTHS, state=initial)

    h, finals = x.swapaxes(0, 1), []
    for depth in range(2):
        outputs = []
        for direction in range(2):
            k = 2 * depth + direction
            cell = layer.cells[k]
            start = jax.tree.map(lambda part, k=k: part[k], initial)
            out, final = core.unroll(
                cell.core_cell, h, cell.params, lengths=LENGTHS, state=start, reverse=bool(direction)
            )
            outputs.append(out)
            finals.append(final)
        h = jnp.concatenate(outputs, axis=-1)
    np.testing.assert_allclose(y, h.swapaxes(0, 1), atol=tolerance("float32", 1))
    assert type(state) is state_type
    for k, final in enumerate(finals):
        for part, expected in zip(state, final, strict=True):
            np.testing.assert_allclose(part[k], expected, atol=tolerance("float32", 1))
    # Forward ends at each row's length, backward at its start.
    np.testing.assert_array_equal(state.h[2, 0], y[0, 4, :6])
    np.testing.assert_array_equal(state.h[2, 2], y[2, 2, :6])
    np.testing.assert_array_equal(state.h[3, 2], y[2, 0, 6:])
    np.testing.assert_array_equal(state.h[:, 1], initial.h[:, 1])


@pytest.mark.parametrize("name", LAYERS)
def test_time_major_is_batch_major_transposed(name, x):
    kwargs = {"num_layers": 2, "bidirectional": True}
    y, state = call(make(name, 4, 6, **kwargs), x, lengths=LENGTHS)
    y_2, state_2 = call(make(name, 4, 6, time_major=True, **kwargs), x.swapaxes(0, 1), lengths=LENGTHS)
    np.testing.assert_array_equal(y, y_2.swapaxes(0, 1))
    jax.tree.map(np.testing.assert_array_equal, state, state_2)


@pytest.mark.parametrize("name", LAYERS)
def test_step_is_the_sequence(name, x, tolerance):
    layer = make(name, 4, 6, 2)
    y, state = call(layer, x)
    carry = None
    for t in range(5):
        y_t, carry = step(layer, x[:, t], carry)
        np.testing.assert_allclose(y_t, y[:, t], atol=tolerance("float32", 10, c=4))
    assert type(carry) is type(state)
    for a, b in zip(carry, state, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance("float32", 10, c=4))
    # And a stream continues from the state of a whole call.
    y_6, _ = step(layer, x[:, 0], state)
    expected, _ = call(layer, x[:, :1], state=state)
    np.testing.assert_allclose(y_6, expected[:, 0], atol=tolerance("float32", 10, c=4))


class TestDropout:
    def layer(self, **kwargs):
        return make("lstm", 4, 6, 2, **({"dropout_rate": 0.5} | kwargs))

    def test_is_off_in_eval(self, x):
        layer = self.layer()
        layer.eval()
        np.testing.assert_array_equal(call(layer, x)[0], call(self.layer(dropout_rate=0.0), x)[0])

    def test_acts_between_layers_only(self, x):
        """With dropout, layer 0 has its numbers without, and the last layer's outputs are not dropped."""
        layer, without = self.layer(), self.layer(dropout_rate=0.0)
        layer.train()
        (y, state), (_, state_0) = call(layer, x), call(without, x)
        np.testing.assert_array_equal(state.h[0], state_0.h[0])
        assert np.abs(state.h[1] - state_0.h[1]).max() > 1e-3
        assert np.all(np.asarray(y) != 0)
        single = make("lstm", 4, 6, 1, dropout_rate=0.5)
        single.train()
        np.testing.assert_array_equal(call(single, x)[0], call(make("lstm", 4, 6, 1), x)[0])

    def test_drops_and_scales_the_outputs_of_the_first_layer(self, x):
        """By a second layer that hands its input through: its candidate is tanh of a small multiple."""
        layer = make("elman", 4, 6, 2, dropout_rate=0.25, activation="relu", seed=1)
        top = layer.cells[1]
        top.w_x[...], top.w_h[...], top.b[...] = jnp.eye(6)[:, None, :], jnp.zeros((6, 1, 6)), jnp.zeros((1, 6))
        layer.eval()
        kept = np.asarray(call(layer, x)[0])
        layer.train()
        y = np.asarray(call(layer, x)[0])
        scaled = np.isclose(y, kept / 0.75)
        assert np.all(scaled | (y == 0))
        assert 0.5 < scaled[kept > 0].mean() < 1

    def test_masks_repeat_with_the_key_and_differ_from_call_to_call(self, x):
        layer = self.layer()
        layer.train()
        first, second = call(layer, x)[0], call(layer, x)[0]
        assert np.abs(first - second).max() > 1e-3
        again = self.layer()
        again.train()
        np.testing.assert_array_equal(call(again, x)[0], first)
        np.testing.assert_array_equal(call(again, x)[0], second)

    def test_takes_its_key_at_the_call(self, x):
        layer = self.layer()
        layer.train()
        a, b, c = (call(layer, x, rngs=nnx.Rngs(dropout=key))[0] for key in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 1e-3


@pytest.mark.parametrize("name", LAYERS)
def test_bfloat16_products_float32_states(name, x):
    layer, exact = (make(name, 4, 6, 2, bidirectional=True, dtype=dtype) for dtype in (jnp.bfloat16, None))
    (y, state), (y_32, state_32) = (call(each, x, lengths=LENGTHS) for each in (layer, exact))
    assert layer.cells[0].w_x.dtype == jnp.float32
    assert all(part.dtype == jnp.float32 for part in state)
    assert 0 < np.abs(y - y_32).max() < 10 * 2.0**-8  # 8 bits, over two layers and five steps
    assert np.abs(state[-1] - state_32[-1]).max() < 10 * 2.0**-8


@pytest.mark.parametrize("init", ["orthogonal", "torch"])
def test_param_dtype(init, x):
    layer = make("gru", 4, 6, init=init, param_dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param))} == {jnp.dtype(jnp.bfloat16)}
    y, state = call(layer, x)
    assert (y.dtype, state.h.dtype) == (jnp.float32, jnp.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_under_jit_and_grad(name, x):
    """The gradient through Flax's transformations is the core's."""
    layer = make(name, 4, 6)
    gradient = nnx.jit(nnx.grad(lambda layer: (layer(x, lengths=LENGTHS)[0] ** 2).sum()))(layer)
    cell = layer.cells[0]

    def loss(params):
        y, _ = core.unroll(cell.core_cell, x.swapaxes(0, 1), params, lengths=LENGTHS)
        return (y**2).sum()

    expected = jax.jit(jax.grad(loss))(cell.params)
    for field, value in expected._asdict().items():
        actual = gradient["cells"][0][field][...]
        np.testing.assert_allclose(actual, value, rtol=0, atol=1e-6 * np.abs(value).max())
        assert np.abs(value).max() > 0


def test_backend_is_handed_on(x):
    y, _ = make("lstm", 4, 6, backend="reference")(x)
    np.testing.assert_allclose(y, make("lstm", 4, 6)(x)[0], atol=1e-6)
    # Forward mode: only the reference has it.
    layer = make("lstm", 4, 6, backend="reference")
    _, tangent = jax.jvp(lambda x: layer(x)[0], (jnp.asarray(x),), (jnp.asarray(x),))
    assert np.abs(tangent).max() > 0


def test_same_seed_same_weights():
    a, b, c = (nnx.state(make("gru", 4, 6, seed=seed), nnx.Param) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert np.abs(a["cells"][0]["w_x"][...] - c["cells"][0]["w_x"][...]).max() > 0.01


@pytest.mark.usefixtures("unchecked_types")
class TestComplaints:
    def test_constructor(self):
        for kwargs, message in [
            ({"num_layers": 0}, "num_layers: expected at least 1, got 0"),
            ({"dropout_rate": 1.0}, "dropout_rate: expected 0 <= rate < 1, got 1.0"),
            ({"dropout_rate": -0.1}, "dropout_rate: expected 0 <= rate < 1, got -0.1"),
            ({"backend": "fast"}, "backend: expected None or one of fused_scan, reference, got 'fast'"),
            ({"init": "zeros"}, "init: expected 'orthogonal' or 'torch', got 'zeros'"),
        ]:
            with pytest.raises(ValueError, match=f"^{message}$"):
                make("lstm", 4, 6, **kwargs)
        with pytest.raises(ValueError, match=r"^hidden_features: expected at least 1, got 0$"):
            make("gru", 4, 0)
        with pytest.raises(ValueError, match=r"^in_features: expected at least 1, got 0$"):
            make("gru", 0, 4)
        with pytest.raises(ValueError, match=r"^activation: expected 'tanh' or 'relu', got 'gelu'$"):
            make("elman", 4, 6, activation="gelu")

    def test_call(self, x):
        layer = make("lstm", 4, 6, 2)
        state = core.LSTMState(jnp.zeros((2, 3, 6)), jnp.zeros((1, 3, 6)))
        for args, kwargs, message in [
            ([x[0]], {}, r"x: expected \[batch, time, 4\], got \[5, 4\]"),
            ([x[..., :3]], {}, r"x: expected \[batch, time, 4\], got \[3, 5, 3\]"),
            ([x], {"state": core.GRUState(state.h)}, "state: expected LSTMState, got GRUState"),
            ([x], {"state": state}, r"state.c: expected shape \[2, 3, 6\], got \[1, 3, 6\]"),
            ([x], {"lengths": np.array([5, 6, 0])}, "lengths: expected 0 to 5, the number of steps, got 0 to 6"),
        ]:
            with pytest.raises(ValueError, match=f"^{message}$"):
                layer(*args, **kwargs)
        with pytest.raises(ValueError, match=r"^x: expected \[time, batch, 4\], got \[5, 4\]$"):
            make("lstm", 4, 6, time_major=True)(x[0])

    def test_step(self, x):
        with pytest.raises(ValueError, match=r"^step: expected a unidirectional layer, got bidirectional=True$"):
            make("lstm", 4, 6, bidirectional=True).step(x[:, 0])
        with pytest.raises(ValueError, match=r"^x: expected floats \[..., 4\], got float32 \[3, 2\]$"):
            make("lstm", 4, 6).step(x[:, 0, :2])


def test_a_cell_refuses_a_carry_that_does_not_fit(unchecked_types):
    cell = nn.LSTMCell(3, 4, rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((2, 3))
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"^carry.h: expected shape \[2, 4\], got \[1, 4\]$"):
        cell(carry._replace(h=carry.h[:1]), x)
    with pytest.raises(ValueError, match=r"^carry: expected LSTMState, got tuple$"):
        cell(tuple(carry), x)
    with pytest.raises(ValueError, match=r"^x: expected floats \[..., 3\], got int32 \[2, 3\]$"):
        cell(carry, x.astype(np.int32))
