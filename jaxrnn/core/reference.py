"""The oracle: a plain `lax.scan` over the cell's own step, differentiated by JAX. Nothing is rearranged.

It takes every option, works in any dtype, and under every transformation (also forward mode, which a custom
reverse pass cannot serve). Every other backend must equal it.
"""

import jax
from jax import Array

from jaxrnn.core.cells import Cell, Params, State, step
from jaxrnn.core.masking import hold, zero_padding


def reference_scan(
    cell: Cell, x: Array, params: Params, state: State, mask: Array | None, reverse: bool
) -> tuple[Array, State]:
    """Unrolls the cell over x `[time, batch, features]`: outputs `[time, batch, hidden]` and the last state."""

    def body(state: State, inputs: tuple[Array, Array | None]) -> tuple[State, Array]:
        x_t, mask_t = inputs
        state = hold(mask_t, step(cell, x_t, params, state), state)
        return state, state.h

    # Padding may hold NaN, and 0 · NaN would poison the weights' gradients: it is cleared before the first product.
    state, h = jax.lax.scan(body, state, (zero_padding(mask, x), mask), reverse=reverse)
    return zero_padding(mask, h), state
