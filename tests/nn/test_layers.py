"""Layers: their parameters, values, order of states, dtypes, and Flax's transformations."""

import inspect

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from layer_cases import LAYERS, LENGTHS, VALID, assert_close, assert_states_close, call, draw_x, make, of_cell

from jaxrnn import core, nn
from jaxrnn.core.registry import BACKENDS


@pytest.fixture
def x(rng):
    return draw_x(rng)


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
def test_values_and_order_of_states(name, x):
    """Two bidirectional layers, put together by hand from their directions."""
    layer = make(name, 4, 6, 2, bidirectional=True, seed=3)
    state_type = layer.cells[0].core_cell.state_type
    initial = state_type(*np.random.default_rng(1).normal(size=(len(state_type._fields), 4, 3, 6)).astype(np.float32))
    y, state = call(layer, x, lengths=LENGTHS, state=initial)

    h, finals = x, []
    for depth in range(2):
        outputs = []
        for direction in range(2):
            k = 2 * depth + direction
            every, final = by_hand.run(
                layer.cells[k], h, valid=VALID, state=of_cell(initial, k), reverse=bool(direction)
            )
            outputs.append(every[0])
            finals.append(final)
        h = np.concatenate(outputs, axis=-1)
    assert_close(y, h)
    assert type(state) is state_type
    assert_states_close(state, finals)
    # Forward ends at each row's length, backward at its start.
    np.testing.assert_array_equal(state.h[2, 0], y[0, 4, :6])
    np.testing.assert_array_equal(state.h[2, 2], y[2, 2, :6])
    np.testing.assert_array_equal(state.h[3, 2], y[2, 0, 6:])
    np.testing.assert_array_equal(state.h[:, 1], initial.h[:, 1])


def test_time_major_is_batch_major_transposed(x):
    kwargs = {"num_layers": 2, "bidirectional": True}
    y, state = call(make("lstm", 4, 6, **kwargs), x, lengths=LENGTHS)
    y_2, state_2 = call(make("lstm", 4, 6, time_major=True, **kwargs), x.swapaxes(0, 1), lengths=LENGTHS)
    np.testing.assert_array_equal(y, y_2.swapaxes(0, 1))
    jax.tree.map(np.testing.assert_array_equal, state, state_2)


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
    for field, param in gradient["cells"][0].items():
        value = getattr(expected, field)
        np.testing.assert_allclose(param[...], value, rtol=0, atol=1e-6 * np.abs(value).max())
        assert np.abs(value).max() > 0


def test_backend_is_handed_on(x, monkeypatch):
    served = []
    for name, backend in BACKENDS.items():

        def run(*args, name=name, backend=backend):
            served.append(name)
            return backend.run(*args)

        monkeypatch.setitem(BACKENDS, name, backend._replace(run=run))
    y, _ = make("lstm", 4, 6, 2, backend="reference")(x)
    assert served == ["reference"] * 2
    np.testing.assert_allclose(y, make("lstm", 4, 6, 2, backend="fused_scan")(x)[0], atol=1e-6)
    assert served[2:] == ["fused_scan"] * 2


def test_same_seed_same_weights():
    a, b, c = (nnx.state(make("gru", 4, 6, seed=seed), nnx.Param) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert np.abs(a["cells"][0]["w_x"][...] - c["cells"][0]["w_x"][...]).max() > 0.01


def test_the_signature_shows_all_arguments():
    parameters = inspect.signature(nn.LSTM).parameters
    assert list(parameters)[:3] == ["in_features", "hidden_features", "num_layers"]
    assert {"peephole", "bidirectional", "dropout_rate", "backend", "init", "param_dtype"} <= set(parameters)
    assert parameters["zoneout_rate"].default == 0.0
    assert all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    assert "peephole" not in inspect.signature(nn.GRU).parameters
    assert {"reset_after", "learn_state"} <= set(inspect.signature(nn.GRUCell).parameters)
    for layer in LAYERS.values():  # and each of them is accepted
        given = {n: p.default for n, p in inspect.signature(layer).parameters.items() if p.default is not p.empty}
        layer(4, 6, rngs=0, **given)


def test_a_seed_in_place_of_random_streams():
    for a, b in (
        (nn.LSTM(4, 6, rngs=3), nn.LSTM(4, 6, rngs=nnx.Rngs(3))),
        (nn.GRUCell(4, 6, rngs=3), nn.GRUCell(4, 6, rngs=nnx.Rngs(3))),
    ):
        jax.tree.map(np.testing.assert_array_equal, nnx.state(a, nnx.Param), nnx.state(b, nnx.Param))


@pytest.mark.parametrize("options", [{}, {"projection_features": 2}])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("hidden", [6, [5, 6]])
def test_the_last_hidden_state(hidden, bidirectional, options, x):
    """It is what the outputs end with: forwards at each row's last step, backwards at its first."""
    layer = make("lstm", 4, hidden, 2, bidirectional=bidirectional, **options)
    y, state = layer(x, lengths=LENGTHS)
    width = options.get("projection_features", 6)
    last = layer.last(state)
    assert last.shape == (3, (1 + bidirectional) * width)
    for row, length in enumerate(LENGTHS):
        if length:
            np.testing.assert_array_equal(last[row, :width], y[row, length - 1, :width])
            np.testing.assert_array_equal(last[row, width:], y[row, 0, width:])
        else:
            assert not last[row].any()
