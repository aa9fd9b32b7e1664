"""One contract: every backend equals the reference, over cells, shapes, dtypes, lengths, directions and states.

A new entry of `BACKENDS` is tested by being there, where this machine can run it, in what it can serve.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import (
    CELLS,
    assert_trees_close,
    cell_of,
    draw_options,
    draw_params,
    draw_state,
    garbage_in_padding,
    out_width,
    run,
    run_and_pull,
)

from jaxrnn import core


class Shape(NamedTuple):
    time: int
    batch: int
    features: int
    hidden: int


SHAPES = {"plain": Shape(7, 6, 3, 5), "ones": Shape(1, 1, 1, 1)}
# Not their whole product, as compiling is what takes the time.
CASES = [
    ("plain", "float32", False),
    ("plain", "float32", True),
    ("plain", "float64", False),
    ("plain", "float64", True),
    ("ones", "float64", True),
]


def draw_lengths(rng, time, batch):
    """No lengths; random ones with 0, 1 and T among them; all equal; all T; all zero."""
    mixed = rng.integers(0, time + 1, batch)
    mixed[:3] = [0, 1, time][: len(mixed[:3])]
    equal = np.full(batch, (time + 1) // 2)
    return [None, rng.permutation(mixed), equal, np.full(batch, time), np.zeros(batch, int)]


HERE = [name for name, why_not in core.backends().items() if why_not is None and name != "reference"]


@pytest.fixture(params=HERE)
def backend(request):
    return request.param


def skip_what_is_refused(name, backend, x, params, **options):
    """What each backend refuses is tested with that backend."""
    try:
        core.resolve_backend(cell_of(name), x, params, backend=backend, **options)
    except ValueError as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", CELLS)
class TestContract:
    @pytest.mark.parametrize(("shape", "dtype", "reverse"), CASES)
    def test_outputs_states_and_all_gradients(self, name, backend, shape, dtype, reverse, rng, tolerance):
        time, batch, features, hidden = SHAPES[shape]
        params = draw_params(rng, name, features, hidden, dtype)
        x = rng.normal(size=(time, batch, features)).astype(dtype)
        skip_what_is_refused(name, backend, x, params)
        cotangents = (
            rng.normal(size=(time, batch, out_width(name, hidden))).astype(dtype),
            draw_state(rng, name, batch, hidden, dtype=dtype),
        )
        zero = jax.tree.map(np.zeros_like, draw_state(rng, name, batch, hidden, dtype=dtype))
        # A gradient's longest sum runs over time and batch together, its terms over features and hidden.
        bound = tolerance(dtype, time * batch * (features + hidden), c=4)
        all_lengths = draw_lengths(rng, time, batch)
        for lengths in all_lengths if (shape, dtype) == ("plain", "float64") else all_lengths[1:]:
            padded = x if lengths is None else garbage_in_padding(x, lengths)
            for state in (zero, draw_state(rng, name, batch, hidden, dtype=dtype)):
                arguments = padded, params, state, lengths, cotangents
                expected = run_and_pull(name, reverse=reverse, backend="reference")(*arguments)
                actual = run_and_pull(name, reverse=reverse, backend=backend)(*arguments)
                assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
                assert_trees_close(actual, expected, bound)

    @pytest.mark.parametrize(("reverse", "chunk"), [(False, None), (True, 3)], ids=["whole", "reverse_in_chunks"])
    def test_every_option_at_once(self, name, backend, reverse, chunk, rng, tolerance):
        time, batch, features, hidden = SHAPES["plain"]
        x, params = rng.normal(size=(time, batch, features)), draw_params(rng, name, features, hidden)
        state, d_last = draw_state(rng, name, batch, hidden), draw_state(rng, name, batch, hidden)
        options = draw_options(rng, name, time, batch, hidden)
        x[~options["mask"]] = np.nan
        skip_what_is_refused(name, backend, x, params, **options)
        arguments = x, params, state, None, (draw_state(rng, name, time, batch, hidden), d_last)
        static = {"reverse": reverse, "max_gradient": 0.7, "all_states": True}
        expected = run_and_pull(name, backend="reference", **static)(*arguments, **options)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
        actual = run_and_pull(name, backend=backend, remat_chunk=chunk, **static)(*arguments, **options)
        assert_trees_close(actual, expected, tolerance("float64", time * batch * (features + hidden), c=4))

    def test_forward_mode(self, name, backend, rng, tolerance):
        time, batch, features, hidden = SHAPES["plain"]
        primals = (
            rng.normal(size=(time, batch, features)),
            draw_params(rng, name, features, hidden),
            draw_state(rng, name, batch, hidden),
        )
        tangents = jax.tree.map(lambda a: np.cos(3 * a), primals)
        options = draw_options(rng, name, time, batch, hidden)
        skip_what_is_refused(name, backend, *primals[:2], **options)

        def push(backend):
            def unroll(x, params, state):
                return core.unroll(CELLS[name], x, params, state=state, backend=backend, **options)

            return jax.jit(lambda primals, tangents: jax.jvp(unroll, primals, tangents))(primals, tangents)

        assert_trees_close(push(backend), push("reference"), tolerance("float64", time * (features + hidden)))

    def test_no_state_is_the_zero_state(self, name, backend, rng, tolerance):
        time, batch, features, hidden = SHAPES["plain"]
        params = draw_params(rng, name, features, hidden)
        x = rng.normal(size=(time, batch, features))
        lengths = np.array([0, 1, 7, 3, 7, 2])
        skip_what_is_refused(name, backend, x, params)
        zero = jax.tree.map(np.zeros_like, draw_state(rng, name, batch, hidden))
        expected = run(name, x, params, lengths=lengths, state=zero, backend="reference")
        actual = run(name, x, params, lengths=lengths, state=None, backend=backend)
        assert_trees_close(actual, expected, tolerance("float64", features + hidden))

    def test_second_derivatives(self, name, backend, rng, tolerance):
        if name not in ("lstm_all", "gru_reset_after", "gru_reset_before"):
            pytest.skip("these three have every kind of product; each takes seconds to compile")
        time, batch, features, hidden = 4, 3, 2, 3
        cell = CELLS[name]
        lengths = jnp.array([4, 0, 2])
        arguments = (
            rng.normal(size=(time, batch, features)),
            draw_params(rng, name, features, hidden),
            draw_state(rng, name, batch, hidden),
        )
        skip_what_is_refused(name, backend, *arguments[:2])

        def derivatives(backend):
            def loss(*arguments):
                x, params, state = arguments
                y, last = core.unroll(cell, x, params, lengths=lengths, state=state, backend=backend)
                return jnp.sum(y**2) + sum(jnp.sum(part**3) for part in last)

            def norm_of_gradient(*arguments):
                gradients = jax.grad(loss, argnums=(0, 1, 2))(*arguments)
                return sum(jnp.sum(g**2) for g in jax.tree.leaves(gradients))

            return jax.jit(jax.grad(norm_of_gradient, argnums=(0, 1, 2)))(*arguments)

        expected = derivatives("reference")
        assert any(np.abs(leaf).max() > 0.1 for leaf in jax.tree.leaves(expected))
        assert_trees_close(derivatives(backend), expected, tolerance("float64", time * batch * (features + hidden)))

    @pytest.mark.parametrize(("time", "batch"), [(0, 2), (3, 0)], ids=["no_time", "no_rows"])
    def test_empty_arrays(self, name, backend, time, batch, rng):
        state = draw_state(rng, name, batch, 4)
        params = draw_params(rng, name, 3, 4)
        x, lengths = np.zeros((time, batch, 3)), np.zeros(batch, int)
        skip_what_is_refused(name, backend, x, params)
        y, last = run(name, x, params, lengths=lengths, state=state, backend=backend)
        assert y.shape == (time, batch, out_width(name, 4))
        for actual, expected in zip(last, state, strict=True):
            np.testing.assert_array_equal(actual, expected)
