"""Lengths become a mask; a masked step holds the state.

Holding is all that variable lengths need. Forwards, a row's state stops changing at its length, so the state
carried out of the scan is the one after the last valid step. Backwards (`reverse=True`), a row holds its
initial state through the padding that comes first, so it starts at its own last valid step. Nothing is
flipped, gathered or packed.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.typing import AnyArray, Mask


def length_mask(lengths: AnyArray | None, time: int) -> Mask | None:
    """Valid steps, `[time, batch]`, from the number of them in each row, `[batch]`; None stays None (all valid)."""
    if lengths is None:
        return None
    return jnp.arange(time)[:, None] < jnp.asarray(lengths)[None, :]


def hold(mask: Array | None, new: Any, old: Any) -> Any:
    """Row by row, `new` where `mask` `[batch]` is true and `old` elsewhere, for a tree of `[batch, ...]` arrays."""
    if mask is None:
        return new

    def select(a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(select, new, old)


def zero_padding(mask: Array | None, x: Array) -> Array:
    """Zeros in x `[time, batch, features]` where the mask `[time, batch]` is false."""
    return x if mask is None else jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))
