"""Matrix products and normalisation, in the precision that is promised."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.narrow_dot import narrow_dot
from jaxrnn.core.versions import get_abstract_mesh


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype of sums, gates and states: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def matmul(a: Array, w: Array) -> Array:
    """`[..., K] @ [K, *N]`: products in the dtype of the weights, accumulated and retransposed in at least float32."""
    return _product(a, w, transposed=False)


def matmul_transposed(a: Array, w: Array) -> Array:
    """`[..., K] @ [K, *N]` with the weights given as `[*N, K]`, in the precision of `matmul`."""
    return _product(a, w, transposed=True)


def _product(a: Array, w: Array, *, transposed: bool) -> Array:
    axis, out = (-1, w.shape[:-1]) if transposed else (0, w.shape[1:])
    # Where the partitioner divides the batch over devices, the batch must keep its own axis. Flattened with time it
    # could not stay divided, and every device would be sent all activations to compute the gradients of the weights.
    mesh = get_abstract_mesh()
    if any(mesh.shape[name] > 1 for name in mesh.auto_axes):
        return jnp.tensordot(a.astype(w.dtype), w, (-1, axis), preferred_element_type=accumulator(w.dtype))
    # Time and batch are one axis here, as the transpose of a product with two takes up to four times as long (XLA on a
    # CPU, 36 against 131 GFLOP/s for the gradient of a [100, 1024] matrix over 16,384 rows).
    rows = a.reshape(-1, a.shape[-1])
    columns = w.reshape(-1, w.shape[-1]) if transposed else w.reshape(w.shape[0], -1)
    if w.dtype != accumulator(w.dtype):
        product = narrow_dot(rows, columns, w.dtype, (False, transposed))
    else:
        product = jax.lax.dot_general(rows.astype(w.dtype), columns, (((1,), (int(transposed),)), ((), ())))
    return product.reshape(*a.shape[:-1], *out)


def layer_norm(x: Array, axes: tuple[int, ...]) -> Array:
    """Mean zero and variance one over `axes` together; Ba et al. 2016, arXiv:1607.06450."""
    centred = x - x.mean(axes, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + 1e-5)
