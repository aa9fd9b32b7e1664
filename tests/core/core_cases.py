"""Cells, and random arguments for them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import core

CELLS = {
    "elman_tanh": core.elman_cell("tanh"),
    "elman_relu": core.elman_cell("relu"),
    "lstm": core.LSTM,
    "gru_reset_after": core.gru_cell(True),
    "gru_reset_before": core.gru_cell(False),
}
PARAMS = {core.ElmanState: core.ElmanParams, core.LSTMState: core.LSTMParams, core.GRUState: core.GRUParams}


def draw_params(rng, cell, features, hidden, dtype=np.float64):
    """Weights of a size that keeps the gates away from saturation, as numpy arrays."""
    gates = cell.num_gates
    shapes = [(features, gates, hidden), (hidden, gates, hidden), (gates, hidden)]
    arrays = [(0.5 * rng.normal(size=shape)).astype(dtype) for shape in shapes]
    if cell.state_type is core.GRUState:
        arrays.append((0.5 * rng.normal(size=hidden)).astype(dtype) if cell.name == "gru" else None)
    return PARAMS[cell.state_type](*arrays)


def draw_state(rng, cell, *shape, dtype=np.float64):
    return cell.state_type(*(rng.normal(size=shape).astype(dtype) for _ in cell.state_type._fields))


def garbage_in_padding(x, lengths, value=np.nan):
    """A copy of x [time, batch, ...] with `value` past each row's length."""
    x = x.copy()
    for row, length in enumerate(lengths):
        x[length:, row] = value
    return x


def assert_trees_close(actual, expected, tolerance):
    """Every leaf within `tolerance` of the expected leaf's largest magnitude."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), e in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape, jax.tree_util.keystr(path)
        assert a.dtype == e.dtype, jax.tree_util.keystr(path)
        scale = max(float(np.max(np.abs(e), initial=0)), 1e-30)
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * scale, err_msg=jax.tree_util.keystr(path))


_compiled = {}


def run_and_pull(name, *, reverse=False, backend=None):
    """A compiled `(x, params, state, lengths, cotangents) -> (outputs and state, gradients)`, made once."""
    key = name, reverse, backend
    if key not in _compiled:

        def function(x, params, state, lengths, cotangents):
            def unroll(x, params, state):
                return core.unroll(
                    CELLS[name], x, params, lengths=lengths, state=state, reverse=reverse, backend=backend
                )

            results, pull = jax.vjp(unroll, x, params, state)
            return results, pull(cotangents)

        _compiled[key] = jax.jit(function)
    return _compiled[key]


def run(name, x, params, *, lengths=None, state=None, reverse=False, backend=None):
    """`core.unroll`, compiled once for each set of shapes."""
    key = "run", name, reverse, backend
    if key not in _compiled:
        _compiled[key] = jax.jit(
            lambda x, params, lengths, state: core.unroll(
                CELLS[name], x, params, lengths=lengths, state=state, reverse=reverse, backend=backend
            )
        )
    lengths = None if lengths is None else jnp.asarray(lengths)
    return _compiled[key](x, params, lengths, state)
