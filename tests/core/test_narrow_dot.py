"""The product of rounded operands: its values, and that every derivative is such a product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxrnn.core.narrow_dot import narrow_dot

DTYPES = ("bfloat16", "float16")
TOLERANCE = 4 * 2.0**-24 * np.sqrt(16)  # float32 sums of 16 exact products, relative to their size


def rounded(x, dtype):
    return np.asarray(jnp.asarray(x, dtype), np.float64)


def operands(rng, *, transposed=(False, False), stack=()):
    a, b = (stack + shape[:: -1 if t else 1] for t, shape in zip(transposed, ((8, 16), (16, 4)), strict=True))
    return rng.normal(size=a).astype(np.float32), rng.normal(size=b).astype(np.float32)


def exact(a, b, dtype, transposed=(False, False)):
    a, b = (
        x.swapaxes(-1, -2) if t else x for x, t in zip((rounded(a, dtype), rounded(b, dtype)), transposed, strict=True)
    )
    return a @ b


def check(actual, expected):
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)], ids=str)
def test_value_and_derivatives(dtype, transposed, rng):
    a, b = operands(rng, transposed=transposed)
    ct = rng.normal(size=(8, 4)).astype(np.float32)

    def dot(a, b):
        return narrow_dot(a, b, dtype, transposed)

    y, pull = jax.jit(lambda a, b, ct: (lambda y, pull: (y, pull(ct)))(*jax.vjp(dot, a, b)))(a, b, ct)
    check(y, exact(a, b, dtype, transposed))
    for d, expected, turned in zip(
        pull,
        (exact(ct, b, dtype, (False, not transposed[1])), exact(a, ct, dtype, (not transposed[0], False))),
        transposed,
        strict=True,
    ):
        check(d, expected.T if turned else expected)
    d_a, d_b = operands(rng, transposed=transposed)
    _, tangent = jax.jvp(dot, (a, b), (d_a, d_b))
    check(tangent, exact(d_a, b, dtype, transposed) + exact(a, d_b, dtype, transposed))


@pytest.mark.parametrize("stack", [(), (2,)], ids=str)
def test_a_result_that_is_turned_afterwards(stack, rng):
    """XLA has no product for it on a CPU by itself (JAX 0.10.2)."""
    a, b = (rng.integers(-4, 5, size=(*stack, *shape)).astype(np.float32) for shape in ((64, 256), (256, 1024)))
    y = jax.jit(lambda a, b: narrow_dot(a, b, "bfloat16").swapaxes(-1, -2))(a, b)
    np.testing.assert_array_equal(y, (a @ b).swapaxes(-1, -2))  # small integers: exact


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, None), (2, 1)], ids=str)
def test_vmap_is_one_product_for_each(axes, rng):
    a, b = operands(rng, stack=(3,))
    given = [x[0] if axis is None else np.moveaxis(x, 0, axis) for x, axis in zip((a, b), axes, strict=True)]
    expected = [
        exact(*(x[0 if axis is None else k] for x, axis in zip((a, b), axes, strict=True)), "bfloat16")
        for k in range(3)
    ]
    check(
        jax.vmap(lambda a, b: narrow_dot(a, b, "bfloat16"), in_axes=axes)(*map(jnp.asarray, given)), np.stack(expected)
    )


def test_examples_gradients_and_second_derivatives(rng):
    a, b = map(jnp.asarray, operands(rng))

    def loss(b, a):
        return jnp.square(narrow_dot(a[None], b, "bfloat16")).sum() / 2

    y = exact(a, b, "bfloat16")
    each = jax.vmap(jax.grad(loss), in_axes=(None, 0))(b, a)
    for row, d in enumerate(each):
        check(d, exact(a[row][:, None], y[row][None], "bfloat16"))
    hessian = jax.jacfwd(jax.grad(loss))(b, a[0])
    outer = np.outer(rounded(a[0], "bfloat16"), rounded(a[0], "bfloat16"))
    # The tangent of y is rounded on its way back, too.
    expected = np.einsum("km,ij->kimj", outer, np.eye(4))
    np.testing.assert_allclose(hessian, expected, rtol=0, atol=2.0**-8 * np.abs(expected).max())


def test_shard_map_sums_the_gradient_of_what_all_devices_share(rng):
    a, b = operands(rng)
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))

    def loss(a, b):
        local = jax.shard_map(
            lambda a, b: jax.lax.psum(narrow_dot(a, b, "bfloat16").sum(), "data"),
            mesh=mesh,
            in_specs=(P("data"), P()),
            out_specs=P(),
        )
        return local(a, b)

    expected = exact(a, np.ones((8, 4), np.float32), "bfloat16", (True, False))
    check(jax.grad(loss, argnums=1)(jnp.asarray(a), jnp.asarray(b)), expected)
