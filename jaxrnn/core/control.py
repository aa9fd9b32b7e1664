"""What acts on the state from outside the equations: masks, resets, zoneout, and a bound on the gradient.

A masked step holds the state, which is all that different lengths need. Forwards, a row's state stops changing at its
length, so the state carried out of the scan is the one after the last valid step. Backwards (`reverse=True`), a row
holds its initial state through the padding that comes first, so it starts at its own last valid step. Nothing is
flipped, gathered or packed, and the mask may have gaps anywhere.

Everything here is linear in the states, so the derivatives use the same functions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.cells import Cell
from jaxrnn.core.clipping import clip_cotangents
from jaxrnn.core.parameters import Params, State
from jaxrnn.typing import AnyArray, Mask


class Loop(NamedTuple):
    """The static part of a scan, which is known before any array.

    Attributes:
      cell: The equations.
      reverse: Whether it runs from the last step to the first.
      max_gradient: Bound on the elements of the state's gradient at every step; None means no bound.
      all_states: Whether the whole state of every step comes out, rather than h alone.
      unroll: Steps in one turn of the fused scan's loop; the benchmarks compare several.
    """

    cell: Cell
    reverse: bool = False
    max_gradient: float | None = None
    all_states: bool = False
    unroll: int = 1


class Fixed(NamedTuple):
    """Arrays that are the same at all steps.

    Attributes:
      initial: The state that a reset leads to.
      dropout: Factors `[batch, hidden]` of the operands of the recurrent products.
    """

    initial: State | None = None
    dropout: Array | None = None


class Steps(NamedTuple):
    """Arrays with a row for each step, `[time, ...]`; inside the loop, those of one step.

    Attributes:
      mask: `[batch]`, true where the step is valid.
      resets: `[batch]`, true where the state returns to `Fixed.initial` before the step.
      zoneout: A state of booleans `[batch, hidden]`, true where the old value stays, or of the old value's share.
    """

    mask: Array | None = None
    resets: Array | None = None
    zoneout: State | None = None


class Direction(NamedTuple):
    """One direction of one layer, checked and laid out: what a scan or kernel runs over the layer's inputs.

    Attributes:
      loop: The cell, and how it is run.
      params: The weights.
      state: The state to start from.
      fixed: What acts on the state in the same way at all steps.
      steps: What acts on the state at each step.
    """

    loop: Loop
    params: Params
    state: State
    fixed: Fixed = Fixed()
    steps: Steps = Steps()


# The outputs of every step, `[time, batch, hidden]`, or with `Loop.all_states` every step's state; and the last state.
Results = tuple[Array | State, State]


def enter(loop: Loop, fixed: Fixed, at: Steps, state: State) -> State:
    """The state that a step starts from."""
    if loop.max_gradient is not None:  # a held step is no step: through the padding a gradient passes as it is
        state = hold(at.mask, clip_cotangents(state, loop.max_gradient), state)
    return state if at.resets is None else hold(at.resets, fixed.initial, state)


def leave(at: Steps, new: State, old: State) -> State:
    """The state that a step ends with, from the cell's new one and the one it started from."""
    if at.zoneout is not None:
        new = type(new)(*map(_zone_out, at.zoneout, new, old))
    return hold(at.mask, new, old)


def _zone_out(share: Array | None, new: Array, old: Array) -> Array:
    if share is None:
        return new
    return jnp.where(share, old, new) if share.dtype == bool else new + share * (old - new)


def hold(mask: Array | None, new: Any, old: Any) -> Any:
    """Row by row, `new` where `mask` `[batch]` is true and `old` elsewhere, for a tree of `[batch, ...]` arrays."""
    if mask is None:
        return new

    def select(a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(select, new, old)


def length_mask(lengths: AnyArray | None, time: int) -> Mask | None:
    """Valid steps, `[time, batch]`, from the number of them in each row, `[batch]`; None stays None (all valid)."""
    if lengths is None:
        return None
    return jnp.arange(time)[:, None] < jnp.asarray(lengths)[None, :]


def mask_lengths(mask: Array | None, time: int, batch: int) -> Array:
    """Valid steps of each row, int32 `[batch]`, from a mask `[time, batch]`; None means all."""
    return jnp.full(batch, time, jnp.int32) if mask is None else mask.sum(0, dtype=jnp.int32)


def zero_padding(mask: Array | None, x: Array) -> Array:
    """Zeros in x `[time, batch, ...]` where the mask `[time, batch]` is false."""
    if mask is None:
        return x
    return jnp.where(jnp.expand_dims(mask, tuple(range(mask.ndim, x.ndim))), x, jnp.zeros((), x.dtype))


def reversed_resets(resets: Array) -> Array:
    """Resets `[time, batch]` for a scan in reverse, in which the sequence that starts at t ends the run before t-1."""
    return jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
