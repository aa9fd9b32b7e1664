"""No bias, one bias, two biases."""

import by_hand
import numpy as np
import pytest
from flax import nnx
from layer_cases import FEATURES, HIDDEN, TOLERANCE, assert_close, call, draw_x, make

CASES = {
    "elman": ("elman", {}, 1),
    "lstm": ("lstm", {}, 4),
    "gru": ("gru", {}, 3),
    "gru reset before": ("gru", {"reset_after": False}, 3),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def count(layer):
    return sum(param.size for cell in layer.cells for param in cell.weights().values())


def test_use_bias_false(case, rng):
    name, options, gates = case
    layer, x = make(name, use_bias=False, **options), draw_x(rng)
    assert set(layer.cells[0].weights()) == {"w_x", "w_h"}
    assert count(layer) == gates * HIDDEN * (FEATURES + HIDDEN)
    assert_close(call(layer, x)[0], by_hand.run(layer.cells[0], x)[0][0])


def test_double_bias(case, rng):
    """The function of two biases that add up; in the n gate of cuDNN's GRU they do not, and are as with one."""
    name, options, gates = case
    layer, x = make(name, double_bias=True, **options), draw_x(rng)
    cell = layer.cells[0]
    assert set(cell.weights()) == {"w_x", "w_h", "b", "b_h"}
    assert count(layer) == gates * HIDDEN * (FEATURES + HIDDEN + 2)
    assert np.abs(cell.b[...] - cell.b_h[...]).max() > 0.01  # drawn each for itself
    y, _ = call(layer, x)
    assert_close(y, by_hand.run(cell, x)[0][0])

    single = make(name, **options)
    for param in ("w_x", "w_h"):
        getattr(single.cells[0], param)[...] = getattr(cell, param)[...]
    b = np.array(cell.b[...] + cell.b_h[...])
    if "b_hn" in single.cells[0].weights():
        b[2], single.cells[0].b_hn[...] = cell.b[...][2], cell.b_h[...][2]
    single.cells[0].b[...] = b
    np.testing.assert_array_equal(call(single, x)[0], y)


def test_the_gradient_arrives_at_both_biases(case, rng):
    name, options, _ = case
    layer, x = make(name, double_bias=True, **options), draw_x(rng)
    gradient = nnx.jit(nnx.grad(lambda layer, x: (layer(x)[0] ** 2).sum()))(layer, x)["cells"][0]
    d_b, d_b_h = (np.asarray(gradient[name][...]) for name in ("b", "b_h"))
    assert np.abs(d_b).min() > 0
    if layer.cells[0].core_cell.name == "gru":  # r, between 0 and 1, multiplies the recurrent side's
        assert np.all(np.abs(d_b_h[2]) > 0)
        assert np.abs(d_b_h[2]).sum() < np.abs(d_b[2]).sum()
        d_b, d_b_h = d_b[:2], d_b_h[:2]
    assert_close(d_b, d_b_h, TOLERANCE * np.abs(d_b).max())
