"""Options that change the gradient or what it costs, and no output."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from layer_cases import FEATURES, HIDDEN, LENGTHS, TOLERANCE, assert_close, draw_x, make

from jaxrnn import nn

TIME = 5


def doubling(max_gradient):
    """Two directions of one unit, h_t = max(2 h_{t-1} + x_t, 0): the gradient doubles at every step on its way back."""

    def full(value):
        return lambda key, shape, dtype: jnp.full(shape, value, dtype)

    init = nn.Initializers(full(1.0), full(2.0), full(0.0))
    options = {"activation": "relu", "bidirectional": True, "max_gradient": max_gradient}
    return nn.Elman(1, 1, init=init, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize(
    ("max_gradient", "gradient"), [(None, [16, 8, 4, 2, 1]), (3.0, [3, 3, 3, 2, 1]), (0.5, [0.5] * 4 + [1])]
)
def test_max_gradient(max_gradient, gradient):
    """Of the state: the input's own, which the outputs of its step give, is not bounded."""
    layer = doubling(max_gradient)

    def last(x):
        _, state = layer(x)
        return state.h.sum(), state.h

    d_x, h = jax.jit(jax.grad(last, has_aux=True))(np.ones((1, TIME, 1), np.float32))
    np.testing.assert_array_equal(h.ravel(), 2.0**TIME - 1)
    forward = np.array(gradient)
    np.testing.assert_array_equal(d_x.ravel(), forward + forward[::-1])


class TestRematChunk:
    def layer(self, chunk):
        return make("lstm", FEATURES, HIDDEN, 2, bidirectional=True, remat_chunk=chunk)

    def test_same_numbers(self, rng):
        x = draw_x(rng)

        @nnx.jit
        def run(layer, x):
            def loss(layer, x):
                y, state = layer(x, lengths=LENGTHS)
                return (y**2).sum() + state.c.sum(), (y, state)

            return nnx.grad(loss, argnums=(0, 1), has_aux=True)(layer, x)

        actual, expected = (jax.tree.leaves(run(self.layer(chunk), x)) for chunk in (2, None))
        for a, b in zip(actual, expected, strict=True):
            assert_close(a, b, TOLERANCE * np.abs(b).max())

    @pytest.mark.parametrize(("chunk", "loops"), [(2, {3, 2}), (4, {2, 4}), (5, {5}), (7, {5}), (None, {5})])
    def test_chunks(self, chunk, loops):
        """A loop over the chunks and one in each; a single loop if there is one chunk only."""
        layer = self.layer(chunk)
        program = str(jax.make_jaxpr(lambda x: layer(x)[0])(np.ones((1, TIME, FEATURES), np.float32)))
        assert {int(length) for length in re.findall(r"\blength=(\d+)", program)} == loops
