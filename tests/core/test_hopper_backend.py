"""The backend around the Hopper kernels, with the same in JAX's operations in the place of the kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, garbage_in_padding
from hopper_emulation import launches as launches
from hopper_emulation import on_hopper

from jaxrnn import core
from jaxrnn.core import versions
from jaxrnn.core.backend_table import BACKENDS
from jaxrnn.core.hopper import backend

T, B, D, H = 6, 21, 3, 64  # rows for one tile and a part of another
LENGTHS = np.array([6, 0, 1, 4, 6, 2, 3, 5, 5] * 2 + [0, 6, 3])
SERVED = ["lstm", "gru_reset_after", "gru_reset_before"]


def draw(rng, name, layers, directions, dtype="float32"):
    """Weights of a size that keeps sums over 64 units away from saturation."""

    def weights(width):
        params = jax.tree.map(lambda a: (0.3 * a).astype(np.float32), draw_params(rng, name, width, H))
        narrow = {key: jnp.asarray(getattr(params, key), dtype) for key in ("w_x", "w_h")}
        return params._replace(**narrow)

    widths = [D] + [directions * H] * (layers - 1)
    params = [[weights(width) for _ in range(directions)] for width in widths]
    state = [[draw_state(rng, name, B, H, dtype=np.float32) for _ in range(directions)] for _ in widths]
    return rng.normal(size=(T, B, D)).astype(np.float32), params, state


def outputs_and_gradients(name, backend, x, params, state, lengths, cotangents):
    @jax.jit
    def run(x, params, state, lengths):
        def unroll(x, params, state):
            return core.unroll_layers(CELLS[name], x, params, lengths=lengths, state=state, backend=backend)

        results, pull = jax.vjp(unroll, x, params, state)
        return results, pull(cotangents)

    return run(x, params, state, lengths)


CASES = [
    ("lstm", 2, 2, True),
    ("gru_reset_after", 1, 2, True),
    ("gru_reset_before", 1, 2, True),
    ("lstm", 1, 1, False),
]


@pytest.mark.parametrize(("name", "layers", "directions", "with_lengths"), CASES)
def test_outputs_states_and_all_gradients(name, layers, directions, with_lengths, launches, rng, tolerance):
    x, params, state = draw(rng, name, layers, directions)
    lengths = LENGTHS if with_lengths else None
    x = garbage_in_padding(x, LENGTHS) if with_lengths else x
    d_y = rng.normal(size=(T, B, directions * H)).astype(np.float32)
    cotangents = d_y, tuple(tuple(jax.tree.map(np.cos, s) for s in layer) for layer in state)
    expected = outputs_and_gradients(name, "reference", x, params, state, lengths, cotangents)
    assert not launches
    actual = outputs_and_gradients(name, "hopper", x, params, state, lengths, cotangents)
    assert launches["backward"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    assert_trees_close(actual, expected, tolerance("float32", T * B + D + H, c=4))
