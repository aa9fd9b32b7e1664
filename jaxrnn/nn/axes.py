"""The number and order of the axes of inputs."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn import core
from jaxrnn.typing import AnyArray


def to_time_major(
    x: AnyArray, mask: AnyArray | None, resets: AnyArray | None, *, time_major: bool
) -> tuple[Array, Array | None, Array | None]:
    """Inputs, mask and resets with time first; ValueError, in the axes that they came in, if they do not fit."""
    x = jnp.asarray(x)
    mask = core.checked_booleans("mask", mask, *x.shape[:2])
    resets = core.checked_booleans("resets", resets, *x.shape[:2])
    return (x, mask, resets) if time_major else jax.tree.map(lambda a: a.swapaxes(0, 1), (x, mask, resets))


def check_inputs(x: Array, axes: tuple[str, ...], features: int) -> None:
    """ValueError unless x is an array of floats with these axes, and `features` as the last."""
    if x.ndim != len(axes) + 1 or x.shape[-1] != features or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x: expected floats [{', '.join(axes)}, {features}], got {x.dtype} {list(x.shape)}")
