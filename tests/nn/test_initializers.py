"""The distributions weights are drawn from."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import nn

CELLS = {
    "elman": (nn.ElmanCell, {}),
    "lstm": (nn.LSTMCell, {}),
    "gru": (nn.GRUCell, {}),
    "gru_reset_before": (nn.GRUCell, {"reset_after": False}),
}


@pytest.fixture(params=CELLS)
def make(request):
    cell_type, kwargs = CELLS[request.param]
    return lambda *args, **more: cell_type(*args, **kwargs, **more, rngs=nnx.Rngs(0))


def test_orthogonal_gate_by_gate(make):
    w_h = np.asarray(make(5, 32).w_h[...])
    gates = [w_h[:, g] for g in range(w_h.shape[1])]
    for w in gates:
        np.testing.assert_allclose(w.T @ w, np.eye(32), atol=1e-5)
    for a, b in pairwise(gates):
        assert np.abs(a - b).max() > 0.1  # each drawn for itself


def test_orthogonal_inputs_are_glorot_uniform_gate_by_gate(make):
    w_x = np.asarray(make(200, 100).w_x[...])
    bound = np.sqrt(6 / (200 + 100))
    for g in range(w_x.shape[1]):
        assert 0.99 * bound < np.abs(w_x[:, g]).max() <= bound
        np.testing.assert_allclose(w_x[:, g].std(), bound / np.sqrt(3), rtol=0.02)


def test_orthogonal_biases_are_zero_but_the_forget_gates_one():
    lstm = np.asarray(nn.LSTMCell(3, 4, rngs=nnx.Rngs(0)).b[...])
    np.testing.assert_array_equal(lstm, [[0] * 4, [1] * 4, [0] * 4, [0] * 4])  # i f g o
    gru = nn.GRUCell(3, 4, rngs=nnx.Rngs(0))
    assert not np.any(gru.b[...])
    assert not np.any(gru.b_hn[...])
    assert not np.any(nn.ElmanCell(3, 4, rngs=nnx.Rngs(0)).b[...])


def test_torch_matrices_are_uniform_in_one_over_root_hidden(make):
    cell = make(50, 100, init="torch")
    for w in (np.asarray(cell.w_x[...]), np.asarray(cell.w_h[...])):
        assert 0.099 < np.abs(w).max() <= 0.1
        np.testing.assert_allclose(w.std(), 0.1 / np.sqrt(3), rtol=0.02)
        assert abs(w.mean()) < 0.003
        assert abs(np.mean(np.abs(w) < 0.05) - 0.5) < 0.02  # flat, not bell-shaped


def test_torch_biases_are_the_sum_of_two_draws(make):
    """PyTorch's b_ih + b_hh: a triangle on ±2/√H, and single draws where its two stay apart, in the GRU's n gate."""
    cell = make(2, 900, init="torch")
    bound = 900**-0.5
    single = [("b_hn", cell.b_hn[...])] if getattr(cell, "b_hn", None) is not None else []
    if single:
        single.append(("b of n", cell.b[...][2]))
    double = [("b", cell.b[...][:2])]
    for name, b in single:
        b = np.asarray(b)
        assert np.abs(b).max() <= bound, name
        np.testing.assert_allclose(b.std(), bound / np.sqrt(3), rtol=0.05, err_msg=name)
    for name, b in double:
        b = np.asarray(b)
        assert bound < np.abs(b).max() <= 2 * bound, name
        np.testing.assert_allclose(b.std(), bound * np.sqrt(2 / 3), rtol=0.05, err_msg=name)


class TestInitializers:
    """One's own."""

    def test_each_weight_by_its_own(self):
        """A gate at a time, which the forget gate's bias of one tells; a projection as w_x, a peephole as a bias."""
        shapes = {"w_x": set(), "w_h": set(), "b": set()}

        def own(name, value):
            def initializer(key, shape, dtype):
                shapes[name].add(shape)
                return jnp.full(shape, value, dtype)

            return initializer

        init = nn.Initializers(own("w_x", 1.0), own("w_h", 2.0), own("b", 3.0), forget_bias=0.5)
        cell = nn.LSTMCell(3, 4, projection_features=2, peephole=True, init=init, rngs=nnx.Rngs(0))
        for name, value in {"w_x": 1, "w_h": 2, "w_p": 1, "peephole": 3}.items():
            np.testing.assert_array_equal(getattr(cell, name)[...], value, err_msg=name)
        np.testing.assert_array_equal(cell.b[...], np.array([6, 6.5, 6, 6])[:, None].repeat(4, 1))  # of two draws
        assert shapes == {"w_x": {(3, 4), (4, 2)}, "w_h": {(2, 4)}, "b": {(4,)}}

    def test_each_gate_and_layer_has_its_own_key(self):
        init = nn.Initializers(*[jax.nn.initializers.normal()] * 3)
        layer = nn.GRU(4, 4, 2, bidirectional=True, init=init, rngs=nnx.Rngs(0))
        drawn = np.concatenate(
            [np.asarray(param[...]).ravel() for cell in layer.cells for param in cell.weights().values()]
        )
        assert np.unique(drawn).size == drawn.size

    def test_defaults_are_orthogonal(self):
        a, b = (nn.LSTMCell(3, 4, init=init, rngs=nnx.Rngs(0)) for init in ("orthogonal", nn.Initializers()))
        for name, param in a.weights().items():
            np.testing.assert_array_equal(param[...], b.weights()[name][...])


def test_two_biases_are_single_draws():
    cell = nn.LSTMCell(2, 900, init="torch", double_bias=True, rngs=nnx.Rngs(0))
    bound = 900**-0.5
    for b in (np.asarray(cell.b[...]), np.asarray(cell.b_h[...])):
        assert 0.99 * bound < np.abs(b).max() <= bound
        np.testing.assert_allclose(b.std(), bound / np.sqrt(3), rtol=0.05)
    orthogonal = nn.LSTMCell(2, 4, double_bias=True, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(orthogonal.b[...], np.array([0, 1, 0, 0])[:, None].repeat(4, 1))
    np.testing.assert_array_equal(orthogonal.b_h[...], 0)


def test_layer_norm_starts_as_the_identity():
    lstm, gru = (cell(3, 4, layer_norm=True, rngs=nnx.Rngs(0)).weights() for cell in (nn.LSTMCell, nn.GRUCell))
    for gain in (lstm["norm_x"], lstm["norm_h"], lstm["norm_c"], gru["norm_x"], gru["norm_h"]):
        np.testing.assert_array_equal(gain[...], 1)
    np.testing.assert_array_equal(lstm["norm_c_shift"][...], 0)
