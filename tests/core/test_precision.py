"""Products in a narrow dtype, sums and states in float32: the error follows c·eps·√n, DESIGN section 5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, draw_params, run_and_pull

from jaxrnn.core.linear import matmul

TIME, BATCH, FEATURES = 40, 8, 16
# Of rounding to nearest. Nothing but the operands of products is rounded to the narrow type.
UNIT = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24}


def errors(name, dtype, hidden, seed):
    """Largest error of outputs, of the state's gradient and of w_h's, each relative to its largest magnitude."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(TIME, BATCH, FEATURES))
    params = jax.tree.map(lambda a: 2 * a / np.sqrt(hidden), draw_params(rng, name, FEATURES, hidden))
    state = CELLS[name].state_type(*(np.zeros((BATCH, hidden)) for _ in CELLS[name].state_type._fields))
    d_y = rng.normal(size=(TIME, BATCH, hidden))
    f = run_and_pull(name)
    with jax.enable_x64(True):
        (y, _), (_, d_params, d_state) = f(x, params, state, None, (d_y, state))
        exact = [np.asarray(a) for a in (y, d_state.h, d_params.w_h)]
    x, params, state, d_y = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (x, params, state, d_y))
    params = params._replace(w_x=params.w_x.astype(dtype), w_h=params.w_h.astype(dtype))
    (y, last), (_, d_params, d_state) = f(x, params, state, None, (d_y, state))
    assert {part.dtype for part in last} == {jnp.dtype("float32")}
    found = [np.asarray(a, np.float64) for a in (y, d_state.h, d_params.w_h)]
    return [np.abs(a - e).max() / np.abs(e).max() for a, e in zip(found, exact, strict=True)]


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("name", ["lstm", "gru_reset_after"])
def test_the_error_is_that_of_the_narrow_type(name, dtype):
    for hidden in (16, 128):
        worst = np.max([errors(name, dtype, hidden, seed) for seed in range(3)], axis=0)
        units = worst / UNIT[dtype]
        # The gradient of w_h is a sum over all steps and rows, which one thread may take from the first to the last.
        terms = np.array([FEATURES + hidden, FEATURES + hidden, max(FEATURES + hidden, TIME * BATCH)])
        assert np.all(units < 2 * np.sqrt(terms)), (hidden, units)
        assert np.all(units > 0.1), (hidden, units)  # the narrow type was really used


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sums_of_narrow_products_stay_in_float32(dtype):
    """Of operands that are narrow already, the result is that of float32, not rounded to the narrow type."""
    rng = np.random.default_rng(0)
    a, w = (jnp.asarray(rng.normal(size=shape), dtype) for shape in ((8, 64), (64, 4, 16)))
    y = matmul(a, w)
    exact = np.einsum("bk,kgh->bgh", np.asarray(a, np.float64), np.asarray(w, np.float64))
    assert y.dtype == jnp.float32
    assert np.abs(y - exact).max() < 16 * 2.0**-24 * 8 * np.abs(exact).max()
