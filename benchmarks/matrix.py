"""The limit of all that is measured here: the machine's own rate of matrix products, through XLA.

At 4096³, and at a layer's own shapes: its projections and weight gradients, which are one product over all steps each,
and its recurrent products, which wait for each other.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.cases import GATES, Case
from benchmarks.timing import in_turns

LARGE = 4096
SECONDS = 0.3  # for each shape, at most


def large_rates(*, size: int = LARGE, seconds: float = 2.0) -> dict[str, float]:
    """FLOP/s of a product at size³ by dtype, the best of its turns."""
    return {
        dtype: 2 * size**3 / _best(_product(size, size, size, 1, dtype), seconds) for dtype in ("float32", "bfloat16")
    }


def product_seconds(case: Case, *, seconds: float = SECONDS) -> dict[str, float]:
    """Seconds that the matrix products of each pass take at the case's shapes, padding included.

    Args:
      case: the layer.
      seconds: that the turns of one shape may take.
    """

    def total(products: Iterator[tuple[int, int, int, int]]) -> float:
        return sum(_seconds(*product, case.dtype, min(seconds, SECONDS)) for product in products)

    forward = total(_forward(case))
    return {"forward": forward, "train": forward + total(_backward(case))}


def _forward(case: Case) -> Iterator[tuple[int, int, int, int]]:
    """Rows, depth, columns, and how many in a chain."""
    rows, columns = case.time * case.batch, GATES[case.cell] * case.hidden
    for width in case.layer_widths * case.directions:
        yield rows, width, columns, 1  # the projection
        yield case.batch, case.hidden, columns, case.time


def _backward(case: Case) -> Iterator[tuple[int, int, int, int]]:
    rows, columns = case.time * case.batch, GATES[case.cell] * case.hidden
    for width in case.layer_widths * case.directions:
        yield case.batch, columns, case.hidden, case.time
        yield rows, columns, width, 1  # the gradient of the input
        yield width, rows, columns, 1  # of w_x
        yield case.hidden, rows, columns, 1  # of w_h


@cache
def _seconds(rows: int, depth: int, columns: int, count: int, dtype: str, seconds: float) -> float:
    return _best(_product(rows, depth, columns, count, dtype), seconds)


def _best(function: Callable[[], Any], seconds: float) -> float:
    return min(in_turns({"product": function}, seconds=seconds)["product"])


def _product(rows: int, depth: int, columns: int, count: int, dtype: str) -> Callable[[], Any]:
    """[rows, depth] × [depth, columns], `count` times, each waiting for the one before."""
    a = jax.random.normal(jax.random.key(0), (rows, depth)).astype(dtype)
    b = (jax.random.normal(jax.random.key(1), (depth, columns)) / depth**0.5).astype(dtype)

    def dot(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.dot(a, b, preferred_element_type=jnp.float32)

    def step(a: jax.Array, _: None) -> tuple[jax.Array, None]:
        y = dot(a, b).astype(dtype)[:, :depth]
        return jnp.concatenate([y, a[:, columns:]], axis=1), None

    chain = jax.jit(lambda a, b: dot(a, b) if count == 1 else jax.lax.scan(step, a, length=count)[0])
    return lambda: jax.block_until_ready(chain(a, b))
