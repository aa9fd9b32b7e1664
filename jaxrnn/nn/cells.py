"""Cells as Flax modules: they own the weights of one direction of one layer, and step once.

They follow Flax's cell protocol, `carry, y = cell(carry, x)`; the carry is the core's state (`LSTMState(h, c)`).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrnn import core
from jaxrnn.nn.initializers import InitName, initial_params


N_GATE = 2  # of the GRU's r, z, n


class RecurrentCell(nnx.Module):
    """What the three cells share: weights w_x, w_h, b with a gate axis, and the step.

    Args of the cells' constructors:
      in_features: D, width of the input.
      hidden_features: H, width of the state and of the output.
      init: see `jaxrnn.nn.initializers.initial_params`.
      double_bias: a second bias b_h for the recurrent product, as PyTorch has. The function stays the same, training
        does not: the sum of two parameters goes twice as far in each step of Adam.
      dtype: of the matrix products; None means that of the weights. Gates and states stay in float32 or wider.
      param_dtype: of the weights.
      rngs: Flax random streams; `params` is used.
    """

    def __init__(
        self,
        core_cell: core.Cell,
        in_features: int,
        hidden_features: int,
        *,
        init: InitName,
        double_bias: bool,
        dtype: DTypeLike | None,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        for name, value in {"in_features": in_features, "hidden_features": hidden_features}.items():
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        params = initial_params(
            core_cell,
            rngs.params(),
            in_features,
            hidden_features,
            init=init,
            double_bias=double_bias,
            dtype=param_dtype,
        )
        self.core_cell = core_cell
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.dtype = dtype
        self.w_x = nnx.Param(params["w_x"])
        self.w_h = nnx.Param(params["w_h"])
        self.b = nnx.Param(params["b"])
        self.b_h, self.b_hn = (nnx.data(nnx.Param(params[k]) if k in params else None) for k in ("b_h", "b_hn"))

    @property
    def params(self) -> Any:
        """The weights as the core takes them, matrices in `dtype`; each cell has its own type."""
        raise NotImplementedError

    def _matrices(self) -> tuple[Array, Array]:
        w_x, w_h = self.w_x[...], self.w_h[...]
        return (w_x, w_h) if self.dtype is None else (w_x.astype(self.dtype), w_h.astype(self.dtype))

    def weights(self) -> dict[str, nnx.Param]:
        """The parameters by name: w_x, w_h, b, and those of b_h and b_hn that this cell has."""
        optional = {"b_h": self.b_h, "b_hn": self.b_hn}
        present = {name: param for name, param in optional.items() if param is not None}
        return {"w_x": self.w_x, "w_h": self.w_h, "b": self.b} | present

    def _bias(self) -> Array:
        return self.b[...] if self.b_h is None else self.b[...] + self.b_h[...]

    @property
    def num_feature_axes(self) -> int:
        """Axes of x that are features, for Flax's own RNN."""
        return 1

    def initialize_carry(self, input_shape: tuple[int, ...], rngs: nnx.Rngs | nnx.RngStream | None = None) -> Any:
        """The zero state for inputs of shape `[*batch, features]`; no random numbers are drawn."""
        shape = (*input_shape[:-1], self.hidden_features)
        zeros = jnp.zeros(shape, jnp.promote_types(self.w_h[...].dtype, jnp.float32))
        return self.core_cell.state_type(*(zeros for _ in self.core_cell.state_type._fields))

    def __call__(self, carry: Any, x: Array) -> tuple[Any, Array]:
        """One step: state `[*batch, hidden]` and input `[*batch, features]` to the new state and the output h."""
        if x.ndim < 1 or x.shape[-1] != self.in_features or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"x: expected floats [..., {self.in_features}], got {x.dtype} {list(x.shape)}")
        self._check_carry(carry, (*x.shape[:-1], self.hidden_features))
        carry = core.step(self.core_cell, x, self.params, carry)
        return carry, carry.h.astype(x.dtype)

    def _check_carry(self, carry: Any, shape: tuple[int, ...]) -> None:
        state_type = self.core_cell.state_type
        if not isinstance(carry, state_type):
            raise ValueError(f"carry: expected {state_type.__name__}, got {type(carry).__name__}")
        for name, part in zip(state_type._fields, carry, strict=True):
            if part.shape != shape:
                raise ValueError(f"carry.{name}: expected shape {list(shape)}, got {list(part.shape)}")


class ElmanCell(RecurrentCell):
    """Elman cell, h_t = φ(W_hh h_{t-1} + W_xh x_t + b); see `jaxrnn.core.elman` and `RecurrentCell`."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        init: InitName = "orthogonal",
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            core.elman_cell(activation),
            in_features,
            hidden_features,
            init=init,
            double_bias=double_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    @property
    def params(self) -> core.ElmanParams:
        """The weights as the core takes them, matrices in `dtype`."""
        return core.ElmanParams(*self._matrices(), self._bias())


class LSTMCell(RecurrentCell):
    """LSTM cell; see `jaxrnn.core.lstm` for the equations and `RecurrentCell` for the arguments."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        init: InitName = "orthogonal",
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            core.LSTM,
            in_features,
            hidden_features,
            init=init,
            double_bias=double_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    @property
    def params(self) -> core.LSTMParams:
        """The weights as the core takes them, matrices in `dtype`."""
        return core.LSTMParams(*self._matrices(), self._bias())


class GRUCell(RecurrentCell):
    """GRU cell of either family; see `jaxrnn.core.gru` for the equations and `RecurrentCell` for the arguments."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        reset_after: bool = True,
        init: InitName = "orthogonal",
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            core.gru_cell(reset_after),
            in_features,
            hidden_features,
            init=init,
            double_bias=double_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    @property
    def params(self) -> core.GRUParams:
        """The weights as the core takes them, matrices in `dtype`."""
        if self.core_cell.name == "gru" and self.b_h is not None:
            b_h = self.b_h[...]
            return core.GRUParams(*self._matrices(), self.b[...] + b_h.at[N_GATE].set(0), b_h[N_GATE])
        return core.GRUParams(*self._matrices(), self._bias(), None if self.b_hn is None else self.b_hn[...])
