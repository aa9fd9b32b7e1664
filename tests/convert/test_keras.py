"""Keras as an outside oracle, and weights both ways."""

import os
import re

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrnn import convert, nn

os.environ["KERAS_BACKEND"] = "jax"
keras = pytest.importorskip("keras")

pytestmark = [
    pytest.mark.usefixtures("unchecked_types"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras 3.15's get_weights
]

BATCH, TIME, FEATURES, HIDDEN = 3, 5, 3, 4
LENGTHS = np.array([5, 1, 3])
MASK = np.arange(TIME) < LENGTHS[:, None]
LAYERS = {
    "lstm": (keras.layers.LSTM, nn.LSTM, {}),
    "gru": (keras.layers.GRU, nn.GRU, {"reset_after": True}),
    "gru_before": (keras.layers.GRU, nn.GRU, {"reset_after": False}),
    "elman": (keras.layers.SimpleRNN, nn.Elman, {}),
}
MERGES = {"concat": "concat", "sum": "sum", "mean": "ave", "mul": "mul"}  # ours to theirs
DIRECTIONS = [None, "concat"]  # one direction, or both and how they are merged
call = nnx.jit(lambda module, x, lengths: module(x, lengths=lengths))


def ours(name, merge=None, hidden=HIDDEN, seed=0, **options):
    _, layer_type, own = LAYERS[name]
    if merge:
        options |= {"bidirectional": True, "merge": merge}
    return layer_type(FEATURES, hidden, init="torch", rngs=nnx.Rngs(seed), **own, **options)


def theirs(name, merge=None, hidden=HIDDEN, features=FEATURES, **options):
    """A built layer, whose call gives outputs and the final state."""
    layer_type, _, own = LAYERS[name]
    layer = layer_type(hidden, return_sequences=True, return_state=True, **own, **options)
    layer = keras.layers.Bidirectional(layer, merge_mode=MERGES[merge]) if merge else layer
    layer.build((BATCH, TIME, features))
    return layer


def draw(rng, weights):
    """All anew: Keras starts with biases of zeros and ones, which hide their order."""
    return [rng.normal(scale=0.5, size=array.shape).astype(np.float32) for array in weights]


def draw_x(rng):
    return rng.normal(size=(BATCH, TIME, FEATURES)).astype(np.float32)


def assert_close(actual, expected):
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def assert_same_function(module, layer, x, lengths=None):
    """Outputs at valid steps, whatever stands at the others, and the final state of each direction."""
    mask = np.ones((BATCH, TIME), bool) if lengths is None else MASK
    expected_y, *expected = layer(x, mask=None if lengths is None else mask)
    y, state = call(module, x, np.full(BATCH, TIME) if lengths is None else lengths)
    assert_close(np.asarray(y)[mask], np.asarray(expected_y)[mask])
    actual = [part[k] for k in range(len(module.cells)) for part in state]
    for part, expected_part in zip(actual, expected, strict=True):
        assert_close(part, expected_part)


@pytest.mark.parametrize(
    ("name", "merge"),
    [*((name, merge) for name in LAYERS for merge in DIRECTIONS), ("lstm", "sum"), ("gru", "mean"), ("elman", "mul")],
)
def test_from_keras(name, merge, rng):
    module, layer, x = ours(name, merge), theirs(name, merge), draw_x(rng)
    layer.set_weights(draw(rng, layer.get_weights()))
    convert.from_keras(module, layer.get_weights())
    assert_same_function(module, layer, x)
    assert_same_function(module, layer, x, LENGTHS)


@pytest.mark.parametrize("double_bias", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_to_keras(name, double_bias, rng):
    """Our function, also where two biases of ours become one of Keras's."""
    module, layer = ours(name, "concat", double_bias=double_bias), theirs(name, "concat")
    layer.set_weights(convert.to_keras(module))
    assert_same_function(module, layer, draw_x(rng))


@pytest.mark.parametrize("double_bias", [False, True])
@pytest.mark.parametrize("merge", DIRECTIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back(name, merge, double_bias, rng):
    """The very same weights, but that a GRU without `double_bias` keeps what of its two biases adds up as their sum."""
    module = ours(name, merge, double_bias=double_bias)
    weights = draw(rng, convert.to_keras(module))
    convert.from_keras(module, weights)
    back = convert.to_keras(module)
    if name == "gru" and not double_bias:
        for bias in weights[2::3]:
            bias[0, : 2 * HIDDEN] += bias[1, : 2 * HIDDEN]  # of z and r, which Keras has first
            bias[1, : 2 * HIDDEN] = 0
    assert_same(back, weights)
    back[0] += 1  # what was exported shares nothing with the module
    assert_same(convert.to_keras(module)[1:], weights[1:])
    assert_same(convert.to_keras(module)[:1], weights[:1])


def test_layers_of_different_widths(rng):
    """A model's weights are its layers', in order."""
    widths = [HIDDEN, 2]
    layers = [
        keras.layers.Bidirectional(keras.layers.GRU(width, return_sequences=True), merge_mode="concat")
        for width in widths
    ]
    model = keras.Sequential([keras.Input((TIME, FEATURES)), *layers])
    model.set_weights(draw(rng, model.get_weights()))
    module, x = ours("gru", "concat", hidden=widths, double_bias=True), draw_x(rng)
    convert.from_keras(module, model.get_weights())
    assert_close(call(module, x, None)[0], model(x))
    assert_same(convert.to_keras(module), model.get_weights())


def test_without_biases(rng):
    module, layer = ours("gru", use_bias=False), theirs("gru", use_bias=False)
    layer.set_weights(draw(rng, layer.get_weights()))
    convert.from_keras(module, layer.get_weights())
    assert_same_function(module, layer, draw_x(rng))
    assert_same(convert.to_keras(module), layer.get_weights())


def test_half_precision_is_added_in_full(rng):
    """The GRU's two biases become one, whose sum is not rounded to their dtype."""
    module = ours("gru")
    weights = [array.astype(np.float16) for array in draw(rng, convert.to_keras(module))]
    convert.from_keras(module, weights)
    bias = weights[2].astype(np.float32)
    np.testing.assert_array_equal(convert.to_keras(module)[2][0, : 2 * HIDDEN], bias.sum(0)[: 2 * HIDDEN])


def refused(module, weights, message):
    """It is a ValueError with this message, and nothing has changed."""
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        convert.from_keras(module, weights)
    after = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_wrong_shapes(rng):
    module = ours("gru")
    kernel, recurrent, bias = draw(rng, convert.to_keras(module))
    for weights, got in (
        ([kernel, recurrent], "[[3, 12], [4, 12]]"),
        ([kernel, recurrent, bias, kernel], "[[3, 12], [4, 12], [2, 12], [3, 12]]"),
        ([recurrent, kernel, bias], "[[4, 12], [3, 12], [2, 12]]"),
        ([kernel, recurrent, bias[0]], "[[3, 12], [4, 12], [12]]"),
        ([], "[]"),
    ):
        refused(module, weights, f"weights: expected arrays of shapes [[3, 12], [4, 12], [2, 12]], got {got}")
    refused(module, None, "weights: expected a list of arrays, got NoneType")
    numbers = "weights[1]: expected floating-point numbers, got complex64"
    refused(module, [kernel, recurrent * 1j, bias], numbers)
    refused(
        ours("gru_before"),
        [kernel, recurrent, bias],
        "weights: expected arrays of shapes [[3, 12], [4, 12], [12]], got [[3, 12], [4, 12], [2, 12]]",
    )


WITHOUT_EQUIVALENT = {
    "peephole=True": ("lstm", {"peephole": True}),
    "layer_norm=True": ("gru", {"layer_norm": True}),
    "projection_features": ("lstm", {"projection_features": 2}),
    "connections='residual'": ("gru", {"connections": "residual"}),
    "learn_state=True": ("elman", {"learn_state": True}),
    "zoneout_rate": ("lstm", {"zoneout_rate": 0.1}),
}


@pytest.mark.parametrize("what", WITHOUT_EQUIVALENT)
def test_modules_without_an_equivalent(what):
    name, options = WITHOUT_EQUIVALENT[what]
    module = ours(name, **options)
    refused(module, [], f"module: expected a layer that Keras has, got {what}")
    with pytest.raises(ValueError, match=f"^module: expected a layer that Keras has, got {what}$"):
        convert.to_keras(module)


def test_not_a_recurrent_layer():
    message = "module: expected a recurrent layer, nn.LSTM, nn.GRU or nn.Elman, got LSTMCell"
    refused(ours("lstm").cells[0], [], message)
