"""A stream: step by step, or in chunks with the state handed on, gives the numbers of one run over the whole."""

import numpy as np
import pytest
from layer_cases import FEATURES, HIDDEN, assert_close, call, draw_state, draw_x, make, of_cell, step

TIME = 6
CASES = {
    "elman": ("elman", {}),
    "elman relu": ("elman", {"activation": "relu"}),
    "lstm": ("lstm", {}),
    "gru": ("gru", {}),
    "gru reset before": ("gru", {"reset_after": False}),
    "projection": ("lstm", {"projection_features": 3}),
    "peephole": ("lstm", {"peephole": True}),
    "lstm layer_norm": ("lstm", {"layer_norm": True}),
    "gru layer_norm": ("gru", {"layer_norm": True}),
    "residual": ("gru", {"connections": "residual"}),
    "dense": ("elman", {"connections": "dense"}),
    "widths": ("lstm", {"hidden_features": [HIDDEN, 3]}),
    "learn_state": ("gru", {"learn_state": True}),
    "zoneout": ("lstm", {"zoneout_rate": (0.2, 0.4)}),
    "dropouts": (
        "gru",
        {
            "input_dropout_rate": 0.5,
            "dropout_rate": 0.5,
            "output_dropout_rate": 0.5,
            "recurrent_dropout_rate": 0.5,
            "weight_drop_rate": 0.5,
            "variational_dropout": True,
        },
    ),
    "double_bias": ("gru", {"double_bias": True}),
    "no bias": ("gru", {"use_bias": False}),
    "time_major": ("lstm", {"time_major": True}),
    "all of the LSTM's": (
        "lstm",
        {
            "hidden_features": [HIDDEN, 3],
            "connections": "dense",
            "projection_features": 2,
            "peephole": True,
            "layer_norm": True,
            "learn_state": True,
            "zoneout_rate": 0.3,
            "double_bias": True,
            "time_major": True,
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_whole(case, rng):
    name, options = CASES[case]
    options = {"hidden_features": HIDDEN, "num_layers": 2} | options
    layer = make(name, FEATURES, **options)
    layer.eval()
    x, state = draw_x(rng, TIME), draw_state(rng, layer)

    def run(x, state):
        y, state = call(layer, x.swapaxes(0, 1) if layer.time_major else x, state=state)
        return (y.swapaxes(0, 1) if layer.time_major else y), state

    y, last = run(x, state)
    first, between = run(x[:, :3], state)
    second, end = run(x[:, 3:], between)
    assert_close(np.concatenate([first, second], axis=1), y)
    assert_states(end, last)

    for t in range(TIME):
        y_t, state = step(layer, x[:, t], state)
        assert_close(y_t, y[:, t])
    assert_states(state, last)


def assert_states(actual, expected):
    assert type(actual) is type(expected)
    for k in range(2):
        for a, b in zip(of_cell(actual, k), of_cell(expected, k), strict=True):
            assert_close(a, b)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_starts_from_zeros(name, rng):
    layer, x = make(name, FEATURES, HIDDEN, 2), draw_x(rng)
    actual = step(layer, x[:, 0], None)
    zeros = type(actual[1])(*(np.zeros_like(part) for part in actual[1]))
    expected = step(layer, x[:, 0], zeros)
    np.testing.assert_array_equal(actual[0], expected[0])
    assert_states(actual[1], expected[1])


def test_outputs_have_the_dtype_of_the_inputs(rng):
    """And states float32, also with zoneout where float64 is allowed."""
    layer = make("lstm", zoneout_rate=0.2)
    layer.eval()
    y, state = layer.step(draw_x(rng)[:, 0].astype(np.float16))
    assert y.dtype == np.float16
    assert {part.dtype for part in state} == {np.dtype(np.float32)}


@pytest.mark.usefixtures("x64")
def test_states_stay_float32_where_float64_is_allowed(rng):
    layer = make("lstm", zoneout_rate=0.2)
    layer.eval()
    _, state = layer.step(draw_x(rng)[:, 0])
    assert {part.dtype for part in state} == {np.dtype(np.float32)}
