"""Initial weights of a cell, by name or by one's own initialisers."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

InitName = Literal["orthogonal", "torch"]
# As those of `jax.nn.initializers`: of key, shape and dtype.
Initializer = Callable[[Array, tuple[int, ...], DTypeLike], Array]


class Initializers(NamedTuple):
    """How weights are first drawn, each gate by itself; the defaults are those of `init="orthogonal"`.

    Attributes:
      w_x: of a gate's `[features, hidden]`, and of a projection `[hidden, projected]`.
      w_h: of a gate's `[hidden, hidden]`; orthogonal keeps norms (Saxe et al. 2014, arXiv:1312.6120).
      b: of a gate's `[hidden]`, and of a peephole's.
      forget_bias: added to the forget gate's bias (Jozefowicz et al. 2015).
    """

    w_x: Initializer = jax.nn.initializers.glorot_uniform()
    w_h: Initializer = jax.nn.initializers.orthogonal()
    b: Initializer = jax.nn.initializers.zeros
    forget_bias: float = 1.0


def initializers(init: InitName | Initializers, hidden_features: int) -> Initializers:
    """The initialisers of a name.

    Args:
      init: "orthogonal", the defaults of `Initializers`; "torch", all weights and biases uniform in ±1/√H, as PyTorch
        draws them; or initialisers, taken as they are.
      hidden_features: H.

    Raises:
      ValueError: `init` is another name.
    """
    if isinstance(init, Initializers):
        return init
    if init == "orthogonal":
        return Initializers()
    if init != "torch":
        raise ValueError(f"init: expected 'orthogonal', 'torch' or nn.Initializers, got {init!r}")
    bound = hidden_features**-0.5

    def uniform(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return Initializers(uniform, uniform, uniform, forget_bias=0.0)


def per_gate(initializer: Initializer, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draws `[*features, gates, hidden]`, each gate `[*features, hidden]` by itself."""
    wide = jnp.promote_types(dtype, jnp.float32)  # the orthogonal draw's QR does not exist in bfloat16
    keys = jax.random.split(key, shape[-2])
    return jnp.stack([initializer(k, (*shape[:-2], shape[-1]), wide) for k in keys], axis=-2).astype(dtype)
