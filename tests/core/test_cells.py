"""The equations of DESIGN section 2, written out from the text as NumPy loops, and the cells' derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, LSTM_VARIANTS, assert_trees_close, cell_of, draw_params, draw_state
from jax.test_util import check_grads

from jaxrnn import core

TIME, BATCH, FEATURES, HIDDEN = 6, 3, 4, 5


def sigma(x):
    return 1 / (1 + np.exp(-x))


def gate(matrix, name, gates):
    """One gate of w_x [D, G, H], w_h [H, G, H] or b [G, H], as W for `W @ column`, or as a bias vector."""
    return matrix[..., gates.index(name), :].T


def elman_step(phi, x, h, p):
    return phi(gate(p.w_h, "h", "h") @ h + gate(p.w_x, "h", "h") @ x + gate(p.b, "h", "h"))


def lstm_step(x, h, c, p):
    w = {k: np.hstack([gate(p.w_h, k, "ifgo"), gate(p.w_x, k, "ifgo")]) for k in "ifgo"}
    b = {k: gate(p.b, k, "ifgo") for k in "ifgo"}
    hx = np.concatenate([h, x])
    i, f, o = (sigma(w[k] @ hx + b[k]) for k in "ifo")
    g = np.tanh(w["g"] @ hx + b["g"])
    c = f * c + i * g
    return o * np.tanh(c), c


def normalise(v):
    """Mean zero, variance one over everything."""
    return (v - v.mean()) / np.sqrt(v.var() + 1e-5)


def lstm_variant_step(x, h, c, p):
    """With projection, peepholes and layer normalisation, whichever the weights have."""
    u = np.einsum("d,dgh->gh", x, p.w_x)
    v = np.einsum("p,pgh->gh", h, p.w_h)
    if p.norm is not None:
        u, v = normalise(u) * p.norm.x, normalise(v) * p.norm.h
    i, f, g, o = u + p.b + v
    p_i, p_f, p_o = np.zeros((3, 1)) if p.peephole is None else p.peephole
    i, f = sigma(i + p_i * c), sigma(f + p_f * c)
    c = f * c + i * np.tanh(g)
    o = sigma(o + p_o * c)
    h = o * np.tanh(c if p.norm is None else normalise(c) * p.norm.c + p.norm.c_shift)
    return h if p.w_p is None else h @ p.w_p, c


def gru_norm_step(x, h, p):
    u = normalise(np.einsum("d,dgh->gh", x, p.w_x)) * p.norm.x + p.b
    v = normalise(np.einsum("k,kgh->gh", h, p.w_h)) * p.norm.h
    r, z = sigma(u[:2] + v[:2])
    return (1 - z) * np.tanh(u[2] + r * (v[2] + p.b_hn)) + z * h


def gru_gates(x, h, p):
    return (sigma(gate(p.w_h, k, "rzn") @ h + gate(p.w_x, k, "rzn") @ x + gate(p.b, k, "rzn")) for k in "rz")


def gru_reset_after_step(x, h, p):
    r, z = gru_gates(x, h, p)
    n = np.tanh(gate(p.w_x, "n", "rzn") @ x + gate(p.b, "n", "rzn") + r * (gate(p.w_h, "n", "rzn") @ h + p.b_hn))
    return (1 - z) * n + z * h


def gru_reset_before_step(x, h, p):
    r, z = gru_gates(x, h, p)
    w_hn = np.hstack([gate(p.w_h, "n", "rzn"), gate(p.w_x, "n", "rzn")])
    n = np.tanh(w_hn @ np.concatenate([r * h, x]) + gate(p.b, "n", "rzn"))
    return (1 - z) * n + z * h


def textbook_gru_step(x, h, p):
    """The blend most texts write: h_t = (1-z) ⊙ h_{t-1} + z ⊙ n."""
    r, z = gru_gates(x, h, p)
    w_hn = np.hstack([gate(p.w_h, "n", "rzn"), gate(p.w_x, "n", "rzn")])
    n = np.tanh(w_hn @ np.concatenate([r * h, x]) + gate(p.b, "n", "rzn"))
    return (1 - z) * h + z * n


STEPS = {
    "elman_tanh": lambda x, s, p: (elman_step(np.tanh, x, *s, p),),
    "elman_relu": lambda x, s, p: (elman_step(lambda a: np.maximum(a, 0), x, *s, p),),
    "lstm": lambda x, s, p: lstm_step(x, *s, p),
    **dict.fromkeys(["lstm_all", *LSTM_VARIANTS], lambda x, s, p: lstm_variant_step(x, *s, p)),
    "gru_reset_after": lambda x, s, p: (gru_reset_after_step(x, *s, p),),
    "gru_reset_before": lambda x, s, p: (gru_reset_before_step(x, *s, p),),
    "gru_norm": lambda x, s, p: (gru_norm_step(x, *s, p),),
}
FUNCTIONS = {
    "elman_tanh": lambda *a, **k: core.elman(*a, activation="tanh", **k),
    "elman_relu": lambda *a, **k: core.elman(*a, activation="relu", **k),
    **dict.fromkeys(["lstm", "lstm_all", *LSTM_VARIANTS], core.lstm),
    "gru_reset_after": lambda *a, **k: core.gru(*a, reset_after=True, **k),
    "gru_reset_before": lambda *a, **k: core.gru(*a, reset_after=False, **k),
    "gru_norm": core.gru,
}


def loop(step, x, params, state):
    """Row by row and step by step: outputs [time, batch, hidden] and the final state's parts [batch, hidden]."""
    y = np.zeros((*x.shape[:2], state[0].shape[-1]))
    last = [np.array(part) for part in state]
    for row in range(x.shape[1]):
        s = tuple(part[row] for part in state)
        for t in range(x.shape[0]):
            s = step(x[t, row], s, params)
            y[t, row] = s[0]
        for part, value in zip(last, s, strict=True):
            part[row] = value
    return y, last


@pytest.fixture
def arguments(rng, x64):
    def draw(name):
        x = rng.normal(size=(TIME, BATCH, FEATURES))
        return x, draw_params(rng, name, FEATURES, HIDDEN), draw_state(rng, name, BATCH, HIDDEN)

    return draw


@pytest.mark.parametrize("backend", ["fused_scan", "reference"])
@pytest.mark.parametrize("name", STEPS)
def test_equations(name, backend, arguments):
    x, params, state = arguments(name)
    expected_y, expected_last = loop(STEPS[name], x, params, state)
    y, last = FUNCTIONS[name](x, params, state=state, backend=backend)
    np.testing.assert_allclose(y, expected_y, rtol=0, atol=1e-12)
    assert type(last) is type(state)
    for actual, expected in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_textbook_blend_is_the_gru_with_z_negated(arguments):
    x, params, state = arguments("gru_reset_before")
    expected, _ = loop(lambda x, s, p: (textbook_gru_step(x, *s, p),), x, params, state)
    sign = np.array([1, -1, 1])[:, None]  # r z n
    negated = core.GRUParams(params.w_x * sign, params.w_h * sign, params.b * sign, None)
    y, _ = core.gru(x, negated, reset_after=False, state=state)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    y, _ = core.gru(x, params, reset_after=False, state=state)
    assert np.abs(y - expected).max() > 0.1


def test_gru_families_differ(arguments):
    x, params, state = arguments("gru_reset_after")
    after, _ = core.gru(x, params, reset_after=True, state=state)
    before, _ = core.gru(x, params._replace(b_hn=None), reset_after=False, state=state)
    assert np.abs(after - before).max() > 0.01


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("axes", [(), (3,), (2, 3)], ids=str)
def test_step_with_leading_axes(name, axes, rng, x64):
    params = draw_params(rng, name, FEATURES, HIDDEN)
    x, state = rng.normal(size=(*axes, FEATURES)), draw_state(rng, name, *axes, HIDDEN)
    new = jax.jit(lambda *args: core.step(cell_of(name), *args))(x, params, state)
    for index in np.ndindex(*axes):
        expected = STEPS[name](x[index], tuple(part[index] for part in state), params)
        for actual, value in zip(new, expected, strict=True):
            assert actual.shape == (*axes, *value.shape)
            np.testing.assert_allclose(actual[index], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_derivatives_of_a_step_against_finite_differences(name, arguments):
    x, params, state = jax.tree.map(jnp.asarray, arguments(name))
    pre = jnp.asarray(np.random.default_rng(1).normal(size=(BATCH, CELLS[name].num_slots, HIDDEN)))
    # Central differences: their error is about the square of the step, 1e-5².
    pointwise = jax.jit(lambda *a: CELLS[name].pointwise(*a, params))
    check_grads(pointwise, (pre, state), order=1, modes=("rev",), eps=1e-5, rtol=1e-6)
    step = jax.jit(lambda *a: core.step(CELLS[name], *a))
    check_grads(step, (x[0], params, state), order=1, modes=("rev",), eps=1e-5, rtol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_derivatives_of_a_sequence_against_finite_differences(name, arguments):
    x, params, state = arguments(name)
    lengths = jnp.array([4, 0, 6])

    @jax.jit
    def f(x, params, state):
        return FUNCTIONS[name](x, params, state=state, lengths=lengths)

    check_grads(f, (x, params, state), order=1, modes=("rev",), eps=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_forward_and_reverse_mode_are_transposes(name, arguments):
    x, params, state = arguments(name)

    def f(x, state):
        return core.unroll(CELLS[name], x, params, state=state)

    tangents = jax.tree.map(lambda a: np.cos(3 * a), (x, state))

    def inner(a, b):
        return sum(jnp.sum(p * q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

    @jax.jit
    def both(x, state, tangents):
        _, tangent_out = jax.jvp(f, (x, state), tangents)
        out, pull = jax.vjp(f, x, state)
        cotangents = jax.tree.map(lambda a: jnp.sin(5 * a), out)
        return inner(cotangents, tangent_out), inner(pull(cotangents), tangents)

    np.testing.assert_allclose(*both(x, state, tangents), rtol=1e-12)


def test_dtypes_products_in_the_weights_dtype_states_in_float32(rng):
    exact = draw_params(rng, "lstm", FEATURES, HIDDEN, np.float32)
    low = exact._replace(w_x=jnp.asarray(exact.w_x, jnp.bfloat16), w_h=jnp.asarray(exact.w_h, jnp.bfloat16))
    x = jnp.asarray(rng.normal(size=(TIME, BATCH, FEATURES)), jnp.bfloat16)
    y, state = core.lstm(x, low)
    assert (y.dtype, state.h.dtype, state.c.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    rounded = exact._replace(w_x=low.w_x.astype(jnp.float32), w_h=low.w_h.astype(jnp.float32))
    _, expected = core.lstm(x.astype(jnp.float32), rounded)
    # Only h is rounded, to 8 bits, before each product.
    assert_trees_close(state, expected, 2 * 2.0**-8)
