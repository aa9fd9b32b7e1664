"""Cells, and random arguments for them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import core

# All the contract's cells; "lstm_all" is projected, with peepholes and layer normalisation, all at once.
CELLS = {
    "elman_tanh": core.elman_cell("tanh"),
    "elman_relu": core.elman_cell("relu"),
    "lstm": core.lstm_cell(),
    "lstm_all": core.lstm_cell(layer_norm=True),
    "gru_reset_after": core.gru_cell(True),
    "gru_reset_before": core.gru_cell(False),
    "gru_norm": core.gru_cell(True, layer_norm=True),
}
# Each by itself, for the equations.
LSTM_VARIANTS = {
    "lstm_projected": core.lstm_cell(),
    "lstm_peephole": core.lstm_cell(),
    "lstm_norm": core.lstm_cell(layer_norm=True),
}


def cell_of(name):
    return (CELLS | LSTM_VARIANTS)[name]


def out_width(name, hidden):
    """Width of h."""
    return max(1, hidden - 1) if name in ("lstm_projected", "lstm_all") else hidden


def draw_params(rng, name, features, hidden, dtype=np.float64):
    """Weights of a size that keeps the gates away from saturation, as numpy arrays."""

    def draw(*shape):
        return (0.5 * rng.normal(size=shape)).astype(dtype)

    gates, out = cell_of(name).num_gates, out_width(name, hidden)
    weights = draw(features, gates, hidden), draw(out, gates, hidden), draw(gates, hidden)
    if name.startswith("elman"):
        return core.ElmanParams(*weights)
    has_norm = name in ("lstm_norm", "lstm_all", "gru_norm")
    if name.startswith("gru"):
        b_hn = None if name == "gru_reset_before" else draw(hidden)
        return core.GRUParams(*weights, b_hn, core.GRUNorm(draw(3, hidden), draw(3, hidden)) if has_norm else None)
    norm = core.LSTMNorm(draw(4, hidden), draw(4, hidden), draw(hidden), draw(hidden))
    return core.LSTMParams(
        *weights,
        w_p=draw(hidden, out) if out != hidden or name in ("lstm_projected", "lstm_all") else None,
        peephole=draw(3, hidden) if name in ("lstm_peephole", "lstm_all") else None,
        norm=norm if has_norm else None,
    )


def draw_state(rng, name, *shape, dtype=np.float64):
    """A state of these leading axes and hidden features."""
    *batch, hidden = shape
    state_type = cell_of(name).state_type
    widths = [out_width(name, hidden)] + [hidden] * (len(state_type._fields) - 1)
    return state_type(*(rng.normal(size=(*batch, width)).astype(dtype) for width in widths))


def draw_options(rng, name, time, batch, hidden):
    """Every option that is made of arrays: a mask with gaps, resets, recurrent dropout, zoneout of both kinds."""
    state = draw_state(rng, name, time, batch, hidden)
    zoneout = [rng.random(part.shape) < 0.3 for part in state]
    if len(zoneout) == 2:
        zoneout[1] = 0.3  # the expectation, of c
    return {
        "mask": rng.random((time, batch)) < 0.7,
        "resets": rng.random((time, batch)) < 0.3,
        "reset_state": draw_state(rng, name, batch, hidden),
        "recurrent_dropout": (rng.random((batch, out_width(name, hidden))) < 0.7) / 0.7,
        "zoneout": type(state)(*zoneout),
    }


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


def run_and_pull(name, **static):
    """A compiled `(x, params, state, lengths, cotangents, **arrays) -> (outputs and state, gradients)`, made once."""
    key = name, *sorted(static.items())
    if key not in _compiled:

        def function(x, params, state, lengths, cotangents, **arrays):
            def unroll(x, params, state):
                return core.unroll(cell_of(name), x, params, lengths=lengths, state=state, **static, **arrays)

            results, pull = jax.vjp(unroll, x, params, state)
            return results, pull(cotangents)

        _compiled[key] = jax.jit(function)
    return _compiled[key]


def run(name, x, params, *, lengths=None, state=None, **options):
    """`core.unroll`, compiled once for each set of shapes; options that are no arrays are part of the program."""
    arrays = {
        key: options.pop(key)
        for key in ("mask", "resets", "reset_state", "recurrent_dropout", "zoneout")
        if key in options
    }
    key = "run", name, *sorted(options.items())
    if key not in _compiled:
        _compiled[key] = jax.jit(
            lambda x, params, lengths, state, arrays: core.unroll(
                cell_of(name), x, params, lengths=lengths, state=state, **options, **arrays
            )
        )
    lengths = None if lengths is None else jnp.asarray(lengths)
    return _compiled[key](x, params, lengths, state, arrays)
