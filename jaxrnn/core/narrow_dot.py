"""A matrix product of rounded operands with a float32 result, whose derivatives are such products as well.

In JAX's own product of bfloat16 operands with a float32 result the cotangent is float32, so that the transpose is a
product of mixed types, or is rounded once more. Neither takes a CPU's fast path (2 Zen 4 cores, 16,384 rows, 1024 by
512: 100 to 170 GFLOP/s against 300). This product is closed under transposition: both operands are rounded to the
narrow type, here and in every derivative, and nothing else is.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.varying import varying_with
from jaxrnn.core.versions import Primitive, bdim_at_front, register_rules, row_major

Transposed = tuple[bool, bool]

_dot_p = Primitive("narrow_dot")


def narrow_dot(a: Array, b: Array, dtype: Any, transposed: Transposed = (False, False)) -> Array:
    """`[..., M, K] @ [..., K, N]` with the operands rounded to `dtype`, summed and returned in float32.

    `transposed` says of each operand whether its last two axes are given in the other order.
    """
    a, b = varying_with((a, b), ())  # now over the same mesh axes: a cotangent is summed over those an operand lacked
    return _dot_p.bind(a, b, transposed=transposed, dtype=jnp.dtype(dtype))


def _dot(a: Array, b: Array, *, transposed: Transposed, dtype: Any) -> Array:
    contracted = a.ndim - (2 if transposed[0] else 1), b.ndim - (1 if transposed[1] else 2)
    stacked = tuple(range(a.ndim - 2))
    dimensions = ((contracted[:1], contracted[1:]), (stacked, stacked))
    return jax.lax.dot_general(a.astype(dtype), b.astype(dtype), dimensions, preferred_element_type=jnp.float32)


def _abstract(a: Any, b: Any, *, transposed: Transposed, dtype: Any) -> Any:
    rows, columns = a.shape[-1 if transposed[0] else -2], b.shape[-2 if transposed[1] else -1]
    return a.update(shape=(*a.shape[:-2], rows, columns), dtype=jnp.dtype(jnp.float32))


def _cotangent_of_a(ct: Any, a: Any, b: Any, *, transposed: Transposed, dtype: Any) -> Any:
    of_a, of_b = transposed
    d_a = narrow_dot(b, ct, dtype, (of_b, True)) if of_a else narrow_dot(ct, b, dtype, (False, not of_b))
    return d_a.astype(a.aval.dtype)


def _cotangent_of_b(ct: Any, a: Any, b: Any, *, transposed: Transposed, dtype: Any) -> Any:
    of_a, of_b = transposed
    d_b = narrow_dot(ct, a, dtype, (True, of_a)) if of_b else narrow_dot(a, ct, dtype, (not of_a, False))
    return d_b.astype(b.aval.dtype)


def _batch(operands: Any, axes: Any, *, transposed: Transposed, dtype: Any) -> tuple[Array, int]:
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    a = bdim_at_front(operands[0], axes[0], size)
    if axes[1] is None and a.ndim == 3 and not transposed[0]:  # one b for all: more rows of a
        y = _dot_p.bind(a.reshape(-1, a.shape[-1]), operands[1], transposed=transposed, dtype=dtype)
        return y.reshape(size, -1, y.shape[-1]), 0
    return _dot_p.bind(a, bdim_at_front(operands[1], axes[1], size), transposed=transposed, dtype=dtype), 0


def _on_cpu(a: Array, b: Array, *, transposed: Transposed, dtype: Any) -> Array:
    # XLA's fast product needs its left operand and its result stored by rows, and XLA ensures neither. With a
    # transposed left operand it computes in float32 (155 GFLOP/s; 215 with a copy); for a result that is transposed it
    # chooses a product that it does not have ("Unsupported element type", JAX 0.10.2).
    a = row_major(a.astype(dtype).swapaxes(-1, -2) if transposed[0] else a.astype(dtype))
    return row_major(_dot(a, b, transposed=(False, transposed[1]), dtype=dtype))


register_rules(
    _dot_p,
    impl=jax.jit(_dot, static_argnames=("transposed", "dtype")),
    shapes=_abstract,
    lower=_dot,
    lower_for={"cpu": _on_cpu},
    batch=_batch,
    bilinear=(_cotangent_of_a, _cotangent_of_b),
)
