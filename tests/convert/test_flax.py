"""Flax's own cells as an outside oracle, and weights both ways."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxrnn import convert, core, nn

pytestmark = pytest.mark.usefixtures("unchecked_types")

BATCH, TIME, FEATURES, HIDDEN = 2, 4, 3, 5
OURS = {
    "LSTMCell": (nn.LSTMCell, core.LSTMState),
    "OptimizedLSTMCell": (nn.LSTMCell, core.LSTMState),
    "GRUCell": (nn.GRUCell, core.GRUState),
    "SimpleCell": (nn.ElmanCell, core.ElmanState),
}
call = nnx.jit(lambda cell, carry, x: cell(carry, x))
CELLS = [(module, name) for module in ("nnx", "linen") for name in OURS]


def ours(name, seed=0, **options):
    return OURS[name][0](FEATURES, HIDDEN, rngs=nnx.Rngs(seed), init="torch", **options)


def kind_of(module, name):
    return "nnx_optimized" if (module, name) == ("nnx", "OptimizedLSTMCell") else module


def theirs(module, name):
    """Flax's weights as a nested dict, its biases zero, and `load(weights)`, which gives its `step(carry, x)`."""
    if module == "nnx":
        cell = getattr(nnx, name)(FEATURES, HIDDEN, rngs=nnx.Rngs(0))
        state = nnx.state(cell, nnx.Param)

        def load(weights):
            nnx.replace_by_pure_dict(state, weights)
            nnx.update(cell, state)
            return partial(call, cell)

        return nnx.to_pure_dict(state), load
    cell = getattr(linen, name)(HIDDEN)
    h, x = np.zeros((BATCH, HIDDEN), np.float32), np.zeros((BATCH, FEATURES), np.float32)
    weights = cell.init(jax.random.key(0), (h, h) if "LSTM" in name else h, x)["params"]
    return weights, lambda weights: jax.jit(partial(cell.apply, {"params": weights}))


def draw(rng, like):
    """All weights anew, none of them zero."""
    return jax.tree.map(lambda array: rng.normal(size=array.shape).astype(np.float32), like)


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), actual, expected)


def assert_same_steps(cell, step, rng):
    """From a random state, outputs of every step and the final state. Flax's carry is (c, h), or h alone."""
    state_type = type(cell.initialize_carry((BATCH, FEATURES)))
    carry = state_type(*(rng.normal(size=(BATCH, HIDDEN)).astype(np.float32) for _ in state_type._fields))
    their_carry = (carry.c, carry.h) if len(carry) == 2 else carry.h
    for x in rng.normal(size=(TIME, BATCH, FEATURES)).astype(np.float32):
        carry, y = call(cell, carry, x)
        their_carry, their_y = step(their_carry, x)
        np.testing.assert_allclose(y, their_y, rtol=0, atol=1e-5)
    expected = dict(zip("ch", their_carry, strict=True)) if len(carry) == 2 else {"h": their_carry}
    for part, value in expected.items():
        np.testing.assert_allclose(getattr(carry, part), value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=part)


@pytest.mark.parametrize(("module", "name"), CELLS)
def test_from_flax(module, name, rng):
    """Flax's function, and its weights back as they were."""
    initial, load = theirs(module, name)
    weights, cell = draw(rng, initial), ours(name)
    convert.from_flax(cell, weights)
    assert_same_steps(cell, load(weights), rng)
    for options in ({}, {"double_bias": True}):
        cell = ours(name, **options)
        convert.from_flax(cell, weights)
        assert_same(convert.to_flax(cell, kind_of(module, name)), weights)


@pytest.mark.parametrize("double_bias", [False, True])
@pytest.mark.parametrize(("module", "name"), CELLS)
def test_to_flax(module, name, double_bias, rng):
    """Our function, also where two biases of ours become one of Flax's."""
    initial, load = theirs(module, name)
    cell = ours(name, double_bias=double_bias)
    if (module, name) == ("nnx", "GRUCell"):  # which has no place for it
        if double_bias:
            cell.b_h[...] = cell.b_h[...].at[2].set(0)
        else:
            cell.b_hn[...] = jnp.zeros(HIDDEN)
    weights = convert.to_flax(cell, kind_of(module, name))
    assert jax.tree.map(np.shape, weights) == jax.tree.map(np.shape, initial)
    assert_same_steps(cell, load(weights), rng)


@pytest.mark.parametrize("double_bias", [False, True])
def test_nnx_gru_has_no_b_hn(double_bias):
    cell = ours("GRUCell", double_bias=double_bias)
    message = "cell: expected a b_hn of zeros, as this Flax cell has no place for it, got other numbers"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        convert.to_flax(cell, "nnx")
    convert.to_flax(cell, "linen")


def refused(cell, weights, message):
    """It is a ValueError with this message, and nothing has changed."""
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(cell, nnx.Param)))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        convert.from_flax(cell, weights)
    assert_same(jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(cell, nnx.Param))), before)


@pytest.mark.parametrize(("module", "name"), CELLS)
def test_wrong_keys_and_shapes(module, name, rng):
    cell = ours(name, seed=1)
    weights = draw(rng, theirs(module, name)[0])
    dense = list(weights)[-1]
    kernel = weights[dense]["kernel"]
    refused(
        cell,
        weights | {dense: weights[dense] | {"kernel": kernel[:-1]}},
        f"params['{dense}.kernel']: expected shape {list(kernel.shape)}, got {list(kernel[:-1].shape)}",
    )
    refused(cell, weights | {"more": {"bias": kernel}}, "params: missing keys [], unexpected keys ['more.bias']")
    integers = weights | {dense: weights[dense] | {"kernel": kernel.astype(int)}}
    refused(cell, integers, f"params['{dense}.kernel']: expected floating-point numbers, got int64")
    renamed = weights | {dense: {"weights" if key == "kernel" else key: value for key, value in weights[dense].items()}}
    refused(cell, renamed, f"params: missing keys ['{dense}.kernel'], unexpected keys ['{dense}.weights']")


def test_another_cell(rng):
    weights = draw(rng, theirs("nnx", "GRUCell")[0])
    refused(ours("LSTMCell"), weights, "params: missing keys ['dense_h.bias'], unexpected keys ['dense_i.bias']")
    refused(ours("SimpleCell"), weights, "params['dense_i.kernel']: expected shape [3, 5], got [3, 15]")


def test_missing_parts(rng):
    """What is there says which of Flax's cells it was."""
    cell, weights = ours("GRUCell"), draw(rng, theirs("nnx", "GRUCell")[0])
    message = "params: missing keys {}, unexpected keys []"
    refused(cell, {"dense_i": weights["dense_i"]}, message.format(["dense_h.kernel"]))
    refused(cell, {"dense_h": weights["dense_h"]}, message.format(["dense_i.bias", "dense_i.kernel"]))
    refused(ours("SimpleCell"), {}, message.format(["h.kernel", "i.bias", "i.kernel"]))


WITHOUT_EQUIVALENT = {
    "a cell that Flax has, got one with peephole": (nn.LSTMCell, {"peephole": True}),
    "a cell that Flax has, got one with norm_c, norm_c_shift, norm_h, norm_x": (nn.LSTMCell, {"layer_norm": True}),
    "a cell that Flax has, got one with norm_h, norm_x": (nn.GRUCell, {"layer_norm": True}),
    "a cell that Flax has, got one with w_p": (nn.LSTMCell, {"projection_features": 2}),
    "a cell that Flax has, got one with initial_h": (nn.ElmanCell, {"learn_state": True}),
    "a cell that Flax has, got use_bias=False": (nn.GRUCell, {"use_bias": False}),
    "a GRU with reset_after=True, as Flax's is, got reset_after=False": (nn.GRUCell, {"reset_after": False}),
}


@pytest.mark.parametrize("message", WITHOUT_EQUIVALENT)
def test_cells_without_an_equivalent(message):
    cell_type, options = WITHOUT_EQUIVALENT[message]
    cell = cell_type(FEATURES, HIDDEN, init="torch", rngs=nnx.Rngs(0), **options)
    refused(cell, {}, f"cell: expected {message}")
    with pytest.raises(ValueError, match=f"^cell: expected {re.escape(message)}$"):
        convert.to_flax(cell, "linen")


def test_wrong_arguments():
    layer = nn.LSTM(FEATURES, HIDDEN, init="torch", rngs=nnx.Rngs(0))
    refused(layer, {}, "cell: expected nn.LSTMCell, nn.GRUCell or nn.ElmanCell, got LSTM")
    refused(layer.cells[0], [], "params: expected a nested dict of arrays, got list")
    with pytest.raises(ValueError, match=r"^kind: expected one of nnx, nnx_optimized, linen, got 'haiku'$"):
        convert.to_flax(layer.cells[0], "haiku")
