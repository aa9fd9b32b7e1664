"""The oracle: a plain `lax.scan` over the cell's own step, differentiated by JAX. Nothing is rearranged.

Every other backend must equal it.
"""

import jax
from jax import Array

from jaxrnn.core.control import Direction, Results, Steps, enter, leave, zero_padding
from jaxrnn.core.parameters import State
from jaxrnn.core.step import step


def reference_scan(x: Array, direction: Direction) -> Results:
    """Unrolls one direction of a layer over x `[time, batch, features]`."""
    loop, params, state, fixed, steps = direction

    def body(state: State, inputs: tuple[Array, Steps]) -> tuple[State, Array | State]:
        x_t, at = inputs
        entered = enter(loop, fixed, at, state)
        new = step(loop.cell, x_t, params, entered, dropout=fixed.dropout)
        state = leave(at, new, entered)
        return state, state if loop.all_states else state.h

    # Padding may hold NaN, and 0 · NaN would poison the weights' gradients: it is cleared before the first product.
    last, outputs = jax.lax.scan(body, state, (zero_padding(steps.mask, x), steps), reverse=loop.reverse)
    return outputs, last
