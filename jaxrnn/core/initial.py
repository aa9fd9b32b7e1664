"""Initial weights: by the name of a scheme, or by one's own initialisers."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxrnn.core.cells import Cell

InitName = Literal["orthogonal", "torch"]
# As those of `jax.nn.initializers`: a function of key, shape and dtype.
Initializer = Callable[[Array, tuple[int, ...], DTypeLike], Array]


class Initializers(NamedTuple):
    """How weights are first drawn, each gate by itself; the defaults are those of `init="orthogonal"`.

    Attributes:
      w_x: For the `[features, hidden]` of each gate, and for a projection `[hidden, projected]`.
      w_h: For the `[hidden, hidden]` of each gate; orthogonal keeps norms (Saxe et al. 2014, arXiv:1312.6120).
      b: For the `[hidden]` of each gate, and of each peephole.
      forget_bias: Number added to the forget gate's bias (Jozefowicz et al. 2015,
        proceedings.mlr.press/v37/jozefowicz15.html).
    """

    w_x: Initializer = jax.nn.initializers.glorot_uniform()
    w_h: Initializer = jax.nn.initializers.orthogonal()
    b: Initializer = jax.nn.initializers.zeros
    forget_bias: float = 1.0


def initializers(init: InitName | Initializers, hidden: int) -> Initializers:
    """The initialisers of a scheme.

    Args:
      init: "orthogonal", the defaults of `Initializers`; "torch", all weights and biases uniform in ±1/√H, as PyTorch
        draws them; or initialisers, which are returned as they are.
      hidden: H.

    Raises:
      ValueError: `init` is another name.
    """
    if isinstance(init, Initializers):
        return init
    if init == "orthogonal":
        return Initializers()
    if init != "torch":
        raise ValueError(f"init: expected 'orthogonal', 'torch' or nn.Initializers, got {init!r}")
    bound = hidden**-0.5

    def uniform(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return Initializers(uniform, uniform, uniform, forget_bias=0.0)


def per_gate(initializer: Initializer, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draws `[*features, gates, hidden]`, each gate `[*features, hidden]` by itself."""
    wide = jnp.promote_types(dtype, jnp.float32)  # the orthogonal draw's QR does not exist in bfloat16
    keys = jax.random.split(key, shape[-2])
    return jnp.stack([initializer(k, (*shape[:-2], shape[-1]), wide) for k in keys], axis=-2).astype(dtype)


def init(
    cell: Cell,
    key: Array,
    features: int,
    hidden: int,
    *,
    scheme: InitName | Initializers = "orthogonal",
    dtype: DTypeLike = jnp.float32,
) -> Any:
    """Draws the weights of a cell.

    Args:
      cell: The equations.
      key: A JAX random key.
      features: D, width of the input.
      hidden: H, hidden units.
      scheme: See `initializers`.
      dtype: Dtype of the weights.

    Returns:
      The cell's weights, such as `LSTMParams`, without a projection or peepholes; gains of layer normalisation are one.

    Raises:
      ValueError: The cell names no type of weights, a size is below 1, or `scheme` is not known.

    Example:
      >>> from jaxrnn import core
      >>> params = init(core.lstm_cell(), jax.random.key(0), 3, 4)
      >>> y, state = core.lstm(jnp.ones((5, 2, 3)), params)
      >>> params.w_h.shape, y.shape
      ((4, 4, 4), (5, 2, 4))
    """
    if cell.params_type is None:
        raise ValueError(f"cell: expected a cell with params_type, got {cell.name} without")
    for name, value in (("features", features), ("hidden", hidden)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    draw, gates = initializers(scheme, hidden), cell.num_gates
    keys = jax.random.split(key, 4)
    w_x = per_gate(draw.w_x, keys[0], (features, gates, hidden), dtype)
    w_h = per_gate(draw.w_h, keys[1], (hidden, gates, hidden), dtype)
    b, b_h = init_biases(cell, draw, keys[2:], hidden, dtype)
    more = {}
    if cell.has_recurrent_bias:
        b, more["b_hn"] = b + b_h.at[-1].set(0), b_h[-1]
    else:
        b = b + b_h
    if cell.norm_type is not None:
        shapes = {"x": (gates, hidden), "h": (gates, hidden)}
        fields = cell.norm_type._fields
        gains = {name: jnp.ones(shapes.get(name, (hidden,)), dtype) for name in fields if not name.endswith("shift")}
        shifts = {name: jnp.zeros(hidden, dtype) for name in fields if name.endswith("shift")}
        more["norm"] = cell.norm_type(**gains, **shifts)
    return cell.params_type(w_x, w_h, b, **more)


def init_biases(cell: Cell, draw: Initializers, keys: Array, hidden: int, dtype: DTypeLike) -> tuple[Array, Array]:
    """Two draws of biases, `[gates, hidden]` each, for the input's and the recurrent part of the pre-activations."""
    b, b_h = (per_gate(draw.b, key, (cell.num_gates, hidden), dtype) for key in keys)
    if "f" in cell.gates:
        b = b.at[cell.gates.index("f")].add(draw.forget_bias)
    return b, b_h
