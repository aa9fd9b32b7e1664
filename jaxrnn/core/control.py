"""What acts on the state from outside the equations: masks, resets, zoneout, a bound on its gradient.

A masked step holds the state, and that is all that variable lengths need. Forwards, a row's state stops changing at
its length, so the state carried out of the scan is the one after the last valid step. Backwards (`reverse=True`), a
row holds its initial state through the padding that comes first, so it starts at its own last valid step. Nothing is
flipped, gathered or packed, and the mask may have gaps anywhere.

All of it is linear in the states, so that the same functions serve the derivatives.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.cells import Cell
from jaxrnn.core.clipping import clip_cotangents
from jaxrnn.core.parameters import State
from jaxrnn.typing import AnyArray, Mask


class Loop(NamedTuple):
    """What a scan is, before any array is known."""

    cell: Cell
    reverse: bool = False
    max_gradient: float | None = None  # bound of the elements of the state's gradient, at every step
    all_states: bool = False  # every step's whole state comes out, not only h
    unroll: int = 1  # steps in one turn of the fused scan's loop; the benchmarks compare


class Fixed(NamedTuple):
    """Arrays that are the same at all steps."""

    initial: State | None = None  # where a reset leads to
    dropout: Array | None = None  # [batch, hidden], multiplies the operands of the recurrent products


class Steps(NamedTuple):
    """Arrays with a row for each step, `[time, ...]`; inside the loop, those of one step."""

    mask: Array | None = None  # [batch], true where the step is valid
    resets: Array | None = None  # [batch], true where the state returns to `Fixed.initial` before the step
    zoneout: State | None = None  # a state of booleans [batch, hidden], true where the old value stays, or of its share


def enter(loop: Loop, fixed: Fixed, at: Steps, state: State) -> State:
    """The state that a step starts from."""
    if loop.max_gradient is not None:  # a held step is none: through the padding a gradient goes as it is
        state = hold(at.mask, clip_cotangents(state, loop.max_gradient), state)
    return state if at.resets is None else hold(at.resets, fixed.initial, state)


def leave(at: Steps, new: State, old: State) -> State:
    """The state that a step ends with, from the cell's new one and the one it started from."""
    if at.zoneout is not None:
        new = type(new)(*map(_keep, at.zoneout, new, old))
    return hold(at.mask, new, old)


def _keep(share: Array | None, new: Array, old: Array) -> Array:
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


def zero_padding(mask: Array | None, x: Array) -> Array:
    """Zeros in x `[time, batch, features]` where the mask `[time, batch]` is false."""
    return x if mask is None else jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))


def reversed_resets(resets: Array) -> Array:
    """Resets `[time, batch]` for a scan in reverse: a sequence that starts at t ends the later one's run before t-1."""
    return jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
