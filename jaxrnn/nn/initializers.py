"""Initial weights of a cell, by name."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxrnn import core

InitName = Literal["orthogonal", "torch"]


def initial_params(
    cell: core.Cell,
    key: Array,
    in_features: int,
    hidden_features: int,
    *,
    init: InitName,
    double_bias: bool,
    dtype: DTypeLike,
) -> dict[str, Array]:
    """Draws w_x `[features, gates, hidden]`, w_h `[hidden, gates, hidden]`, b and perhaps b_h `[gates, hidden]`.

    Args:
      cell: whose gates to draw for.
      key: a JAX random key.
      in_features: D.
      hidden_features: H.
      init: "orthogonal": each gate of w_h orthogonal by itself (Saxe et al. 2014, arXiv:1312.6120), each gate of
        w_x Glorot uniform, biases zero but the forget gate's one (Jozefowicz et al. 2015). "torch": all weights
        and biases uniform in ±1/√H; where PyTorch has two biases that add up and we one, it is the sum of two draws.
      double_bias: draw b_h, too.
      dtype: of the arrays.

    Raises:
      ValueError: `init` is another name.
    """
    shapes = {
        "w_x": (in_features, cell.num_gates, hidden_features),
        "w_h": (hidden_features, cell.num_gates, hidden_features),
        "b": (cell.num_gates, hidden_features),
    }
    draws = {"orthogonal": _orthogonal, "torch": _torch_uniform}
    if init not in draws:
        raise ValueError(f"init: expected 'orthogonal' or 'torch', got {init!r}")
    params = draws[init](cell, key, shapes, dtype)
    if double_bias:
        return params
    # Two biases become one where they add up: everywhere but in the GRU's n gate, whose recurrent one is b_hn.
    b, b_h = params.pop("b"), params.pop("b_h")
    if cell.name == "gru":
        n = cell.gates.index("n")
        return params | {"b": b + b_h.at[n].set(0), "b_hn": b_h[n]}
    return params | {"b": b + b_h}


def _orthogonal(cell: core.Cell, key: Array, shapes: dict, dtype: DTypeLike) -> dict[str, Array]:
    key_x, key_h = jax.random.split(key)

    def per_gate(initializer: jax.nn.initializers.Initializer, key: Array, shape: tuple[int, int, int]) -> Array:
        keys = jax.random.split(key, shape[1])
        wide = jnp.promote_types(dtype, jnp.float32)  # the orthogonal draw's QR does not exist in bfloat16
        return jnp.stack([initializer(k, (shape[0], shape[2]), wide) for k in keys], axis=1).astype(dtype)

    b = jnp.zeros(shapes["b"], dtype)
    if "f" in cell.gates:
        b = b.at[cell.gates.index("f")].set(1)
    return {
        "w_x": per_gate(jax.nn.initializers.glorot_uniform(), key_x, shapes["w_x"]),
        "w_h": per_gate(jax.nn.initializers.orthogonal(), key_h, shapes["w_h"]),
        "b": b,
        "b_h": jnp.zeros_like(b),
    }


def _torch_uniform(cell: core.Cell, key: Array, shapes: dict, dtype: DTypeLike) -> dict[str, Array]:
    bound = shapes["b"][-1] ** -0.5
    keys = jax.random.split(key, 4)

    names = ("w_x", "w_h", "b", "b_h")
    shapes = shapes | {"b_h": shapes["b"]}
    return {
        name: jax.random.uniform(key, shapes[name], dtype, -bound, bound) for name, key in zip(names, keys, strict=True)
    }
