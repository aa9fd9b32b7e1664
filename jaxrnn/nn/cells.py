"""Cells as Flax modules: they own the weights of one direction of one layer, and step once.

They follow Flax's cell protocol, `carry, y = cell(carry, x)`; the carry is the core's state (`LSTMState(h, c)`).
"""

from typing import Any, Literal, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrnn import core
from jaxrnn.core import Initializers, InitName
from jaxrnn.nn.arguments import as_rngs, full_signature, refuse_unknown

MATRICES = ("w_x", "w_h", "w_p")  # of products
BY_HIDDEN_UNITS = ("w_x", "w_h", "b", "b_h", "b_hn")  # their last axis is the hidden units
N_GATE = 2  # of the GRU's r, z, n


class CellOptions(TypedDict, total=False):
    """The options of all cells, for type checkers; `RecurrentCell` says what each means."""

    init: InitName | Initializers
    use_bias: bool
    double_bias: bool
    learn_state: bool
    dtype: DTypeLike | None
    param_dtype: DTypeLike


class RecurrentCell(nnx.Module):
    """The base of `LSTMCell`, `GRUCell` and `ElmanCell`: weights with a gate axis, and the step.

    Weights are attributes, by the names of the core's parameters: w_x, w_h, b and so on, each only where it exists.

    Args of the cells' constructors:
      in_features: D, width of the input.
      hidden_features: H, width of the state and of the output.
      init: "orthogonal", "torch" or initialisers of one's own, see `jaxrnn.core.initializers`.
      use_bias: Whether there are biases.
      double_bias: Whether the recurrent product has a second bias b_h, as in PyTorch. The function stays the same,
        but training does not: the sum of two parameters goes twice as far in each step of Adam.
      learn_state: Whether the initial state, zero at first, is a parameter.
      dtype: Dtype of the matrix products; None means that of the weights. Gates and states stay in float32 or wider.
      param_dtype: Dtype of the weights.
      rngs: Flax random streams, or a seed; `params` is used.

    Raises:
      ValueError: An argument is out of range, or two contradict each other.
      TypeError: There is no such argument; the message names one that may have been meant.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls.__signature__ = full_signature(cls, RecurrentCell)

    w_x: nnx.Param
    w_h: nnx.Param
    b: nnx.Param

    def __init__(
        self,
        core_cell: core.Cell,
        in_features: int,
        hidden_features: int,
        projection_features: int | None = None,
        /,  # so that a cell that cannot project does not take the keyword either
        *,
        init: InitName | Initializers = "orthogonal",
        use_bias: bool = True,
        double_bias: bool = False,
        learn_state: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs | int,
        **unknown: Any,
    ):
        refuse_unknown(type(self), unknown)
        rngs = as_rngs(rngs)
        sizes = {"in_features": in_features, "hidden_features": hidden_features}
        for name, value in (sizes | {"projection_features": projection_features}).items():
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if double_bias and not use_bias:
            raise ValueError("double_bias: expected False with use_bias=False, got True")
        self.core_cell = core_cell
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.out_features = projection_features or hidden_features
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.learn_state = learn_state
        self.weight_names: tuple[str, ...] = ()

        draw = core.initializers(init, hidden_features)
        gates = core_cell.num_gates
        keys = jax.random.split(rngs.params(), 4)
        self._add("w_x", core.per_gate(draw.w_x, keys[0], (in_features, gates, hidden_features), param_dtype))
        self._add("w_h", core.per_gate(draw.w_h, keys[1], (self.out_features, gates, hidden_features), param_dtype))
        if use_bias:
            self._add_biases(draw, keys[2:], double_bias)
        if projection_features is not None:
            shape = hidden_features, 1, projection_features
            self._add("w_p", core.per_gate(draw.w_x, rngs.params(), shape, param_dtype)[:, 0])
        if learn_state:
            for name, width in zip(core_cell.state_type._fields, self.state_widths, strict=True):
                self._add(f"initial_{name}", jnp.zeros(width, param_dtype))

    def _add(self, name: str, value: Array) -> None:
        setattr(self, name, nnx.Param(value))
        self.weight_names = (*self.weight_names, name)

    def _add_biases(self, draw: Initializers, keys: Array, double_bias: bool) -> None:
        b, b_h = core.init_biases(self.core_cell, draw, keys, self.hidden_features, self.param_dtype)
        if double_bias:
            self._add("b", b)
            self._add("b_h", b_h)
        # One bias is the sum of two draws, as two would add up: everywhere but in the GRU's n gate, inside r ⊙ (...).
        elif self.core_cell.has_recurrent_bias:
            self._add("b", b + b_h.at[N_GATE].set(0))
            self._add("b_hn", b_h[N_GATE])
        else:
            self._add("b", b + b_h)

    def weights(self) -> dict[str, nnx.Param]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self.weight_names}

    @property
    def matrices(self) -> tuple[str, ...]:
        """The names of the weights that are matrices of products."""
        return tuple(name for name in self.weight_names if name in MATRICES)

    @property
    def by_hidden_units(self) -> tuple[str, ...]:
        """The names of the weights whose last axis is the hidden units."""
        return tuple(name for name in self.weight_names if name in BY_HIDDEN_UNITS)

    @property
    def params(self) -> Any:
        """The weights as the core takes them, matrices in `dtype`; each cell has its own type."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, Array]:
        """The weights by name, matrices in `dtype`, and b as the sum of both biases where there are two."""
        arrays = {name: param[...] for name, param in self.weights().items()}
        for name in MATRICES:
            if name in arrays and self.dtype is not None:
                arrays[name] = arrays[name].astype(self.dtype)
        b = arrays.get("b", jnp.zeros((self.core_cell.num_gates, self.hidden_features), self.param_dtype))
        return arrays | {"b": b + arrays["b_h"] if "b_h" in arrays else b}

    @property
    def state_widths(self) -> list[int]:
        """The width of each part of the state; h, which comes first, may be projected."""
        return [self.out_features] + [self.hidden_features] * (len(self.core_cell.state_type._fields) - 1)

    @property
    def num_feature_axes(self) -> int:
        """Number of axes of x that are features, which Flax's own RNN asks for."""
        return 1

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: nnx.Rngs | nnx.RngStream | None = None) -> Any:
        """The initial state for inputs of shape `[*batch, features]`, zeros or the learnt one. Nothing is drawn."""
        dtype = jnp.promote_types(self.param_dtype, jnp.float32)
        parts = []
        for name, width in zip(self.core_cell.state_type._fields, self.state_widths, strict=True):
            shape = (*input_shape[:-1], width)
            learnt = getattr(self, f"initial_{name}")[...].astype(dtype) if self.learn_state else jnp.zeros((), dtype)
            parts.append(jnp.broadcast_to(learnt, shape))
        return self.core_cell.state_type(*parts)

    def learnt_state(self, batch: int) -> Any | None:
        """The learnt initial state for `batch` rows; None for a cell without, whose state starts from zeros."""
        return self.initialize_carry((batch, self.in_features)) if self.learn_state else None

    def __call__(self, carry: Any, x: Array) -> tuple[Any, Array]:
        """One step: state `[*batch, hidden]` and input `[*batch, features]` to the new state and the output h."""
        if x.ndim < 1 or x.shape[-1] != self.in_features or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"x: expected floats [..., {self.in_features}], got {x.dtype} {list(x.shape)}")
        self.check_state("carry", carry, x.shape[:-1])
        carry = core.step(self.core_cell, x, self.params, carry)
        return carry, carry.h.astype(x.dtype)

    def check_state(self, name: str, state: Any, batch: tuple[int, ...]) -> None:
        """ValueError that names the state `name`, unless it is one of this cell's, each part `[*batch, width]`."""
        state_type = self.core_cell.state_type
        if not isinstance(state, state_type):
            raise ValueError(f"{name}: expected {state_type.__name__}, got {type(state).__name__}")
        for field, part, width in zip(state_type._fields, state, self.state_widths, strict=True):
            if np.shape(part) != (*batch, width):
                raise ValueError(f"{name}.{field}: expected shape {[*batch, width]}, got {list(np.shape(part))}")


class ElmanCell(RecurrentCell):
    """Elman cell, h_t = φ(W_hh h_{t-1} + W_xh x_t + b); see `jaxrnn.core.elman` and `RecurrentCell`."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        rngs: nnx.Rngs | int,
        **options: Unpack[CellOptions],
    ):
        super().__init__(core.elman_cell(activation), in_features, hidden_features, rngs=rngs, **options)

    @property
    def params(self) -> core.ElmanParams:
        """The weights as the core takes them, matrices in `dtype`."""
        arrays = self._arrays()
        return core.ElmanParams(arrays["w_x"], arrays["w_h"], arrays["b"])


class LSTMCell(RecurrentCell):
    """LSTM cell; see `jaxrnn.core.lstm` for the equations and `RecurrentCell` for the other arguments.

    Args:
      in_features: D, width of the input.
      hidden_features: H, width of the cell state, and of the output unless it is projected.
      projection_features: P, width that the output is projected to; None means no projection.
      peephole: Whether i, f and o see the cell state.
      layer_norm: Layer normalisation of both parts of the pre-activations and of the cell state.
      rngs: Flax random streams, or a seed; `params` is used.
      **options: All other arguments of the signature; see `jaxrnn.nn.RecurrentCell`.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        projection_features: int | None = None,
        peephole: bool = False,
        layer_norm: bool = False,
        rngs: nnx.Rngs | int,
        **options: Unpack[CellOptions],
    ):
        rngs = as_rngs(rngs)
        super().__init__(
            core.lstm_cell(layer_norm=layer_norm),
            in_features,
            hidden_features,
            projection_features,
            rngs=rngs,
            **options,
        )
        self.layer_norm = layer_norm
        if peephole:
            draw = core.initializers(options.get("init", "orthogonal"), hidden_features)
            self._add("peephole", core.per_gate(draw.b, rngs.params(), (3, hidden_features), self.param_dtype))
        if layer_norm:
            for name in ("norm_x", "norm_h"):
                self._add(name, jnp.ones((4, hidden_features), self.param_dtype))
            self._add("norm_c", jnp.ones(hidden_features, self.param_dtype))
            self._add("norm_c_shift", jnp.zeros(hidden_features, self.param_dtype))

    @property
    def params(self) -> core.LSTMParams:
        """The weights as the core takes them, matrices in `dtype`."""
        arrays = self._arrays()
        norm = core.LSTMNorm(*(arrays[f"norm_{k}"] for k in core.LSTMNorm._fields)) if self.layer_norm else None
        return core.LSTMParams(
            arrays["w_x"], arrays["w_h"], arrays["b"], arrays.get("w_p"), arrays.get("peephole"), norm
        )


class GRUCell(RecurrentCell):
    """GRU cell of either family; see `jaxrnn.core.gru` for the equations and `RecurrentCell` for the other arguments.

    Args:
      in_features: D, width of the input.
      hidden_features: H, width of the state and of the output.
      reset_after: Which family: True is cuDNN's and PyTorch's, False the textbook form.
      layer_norm: Layer normalisation of both parts of the pre-activations; needs `reset_after`.
      rngs: Flax random streams, or a seed; `params` is used.
      **options: All other arguments of the signature; see `jaxrnn.nn.RecurrentCell`.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        rngs: nnx.Rngs | int,
        **options: Unpack[CellOptions],
    ):
        cell = core.gru_cell(reset_after, layer_norm=layer_norm)
        super().__init__(cell, in_features, hidden_features, rngs=rngs, **options)
        self.reset_after = reset_after
        self.layer_norm = layer_norm
        for name in ("norm_x", "norm_h") if layer_norm else ():
            self._add(name, jnp.ones((3, hidden_features), self.param_dtype))

    @property
    def params(self) -> core.GRUParams:
        """The weights as the core takes them, matrices in `dtype`."""
        arrays = self._arrays()
        b, b_hn = arrays["b"], None
        if self.reset_after and "b_h" in arrays:  # the n gate's two do not add up
            b, b_hn = b.at[N_GATE].set(self.b[...][N_GATE]), arrays["b_h"][N_GATE]
        elif self.reset_after:
            b_hn = arrays.get("b_hn", jnp.zeros(self.hidden_features, self.param_dtype))
        norm = core.GRUNorm(arrays["norm_x"], arrays["norm_h"]) if self.layer_norm else None
        return core.GRUParams(arrays["w_x"], arrays["w_h"], b, b_hn, norm)
