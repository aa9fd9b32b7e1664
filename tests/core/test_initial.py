"""Weights drawn by `core.init`: shapes, sizes, and the same as those of the modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS

from jaxrnn import core

D, H = 5, 8


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_runs_with_its_weights(name):
    cell = CELLS[name]
    params = core.init(cell, jax.random.key(0), D, H, scheme="torch")
    y, _ = core.unroll(cell, jnp.ones((3, 2, D)), params)
    assert y.shape == (3, 2, H)
    assert float(jnp.abs(y).max()) > 0
    for weights in (params.w_x, params.w_h):
        assert 0.9 * H**-0.5 < float(jnp.abs(weights).max()) <= H**-0.5


def test_the_default_scheme():
    params = core.init(core.lstm_cell(), jax.random.key(0), D, H)
    for gate in range(4):
        w_h = np.asarray(params.w_h[:, gate])
        np.testing.assert_allclose(w_h.T @ w_h, np.eye(H), atol=1e-5)
    np.testing.assert_array_equal(params.b, np.array([0, 1, 0, 0])[:, None] * np.ones(H))
    gru = core.init(core.gru_cell(True, layer_norm=True), jax.random.key(0), D, H, dtype=jnp.bfloat16)
    assert gru.b_hn.shape == (H,)
    assert (gru.norm.x == 1).all()
    assert gru.w_h.dtype == jnp.bfloat16


def test_a_cell_of_ones_own_needs_a_type_of_weights():
    cell = core.lstm_cell()._replace(name="mine", params_type=None)
    with pytest.raises(ValueError, match="cell: expected a cell with params_type, got mine without"):
        core.init(cell, jax.random.key(0), D, H)
    with pytest.raises(ValueError, match="hidden: expected at least 1, got 0"):
        core.init(core.lstm_cell(), jax.random.key(0), D, 0)


def test_a_gru_of_another_name_has_its_recurrent_bias():
    cell = core.gru_cell(True)._replace(name="mine")
    params = core.init(cell, jax.random.key(0), D, H)
    y, _ = core.unroll(cell, jnp.ones((3, 2, D)), params)
    np.testing.assert_array_equal(y, core.gru(jnp.ones((3, 2, D)), params)[0])
