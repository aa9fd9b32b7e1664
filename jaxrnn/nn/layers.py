"""Recurrent layers: cells stacked in depth and in both directions, dropout between them.

They have no mathematics of their own: each direction of each layer is a cell's weights given to the core.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrnn import core
from jaxrnn.core.dispatch import BackendName
from jaxrnn.nn.cells import ElmanCell, GRUCell, LSTMCell, RecurrentCell
from jaxrnn.nn.initializers import InitName
from jaxrnn.typing import AnyArray


class RecurrentLayer(nnx.Module):
    """What the three layers share: the stack, the directions, and the call.

    Args of the layers' constructors:
      in_features: D, width of the input.
      hidden_features: H, width of each direction's state.
      num_layers: L, layers in depth.
      bidirectional: run each layer in both directions and concatenate their outputs.
      dropout_rate: of the outputs of every layer but the last, while `deterministic` is off (`model.train()`).
      time_major: inputs and outputs are `[time, batch, ...]` rather than `[batch, time, ...]`.
      init: see `jaxrnn.nn.initializers.initial_params`.
      double_bias: two biases that add up, as in PyTorch; see `RecurrentCell`.
      dtype: of the matrix products; None means that of the weights. Gates and states stay in float32 or wider.
      param_dtype: of the weights.
      backend: see `jaxrnn.core.resolve_backend`.
      rngs: Flax random streams: `params`, and `dropout` where it is not given at the call.
    """

    def __init__(
        self,
        make_cell: Callable[[int], RecurrentCell],
        in_features: int,
        hidden_features: int,
        *,
        num_layers: int,
        bidirectional: bool,
        dropout_rate: float,
        time_major: bool,
        backend: BackendName | None,
        rngs: nnx.Rngs,
    ):
        if num_layers < 1:
            raise ValueError(f"num_layers: expected at least 1, got {num_layers}")
        if not 0 <= dropout_rate < 1:
            raise ValueError(f"dropout_rate: expected 0 <= rate < 1, got {dropout_rate}")
        core.resolve_backend(backend)
        self.num_layers = num_layers
        self.num_directions = 2 if bidirectional else 1
        self.time_major = time_major
        self.backend: BackendName | None = backend
        widths = [in_features] + [self.num_directions * hidden_features] * (num_layers - 1)
        # Layer-major, then direction: the order of the states, as in PyTorch.
        self.cells = nnx.List([make_cell(width) for width in widths for _ in range(self.num_directions)])
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs if dropout_rate else None)

    def __call__(
        self,
        x: AnyArray,
        *,
        lengths: AnyArray | None = None,
        state: Any | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Array, Any]:
        """Runs the layers over sequences.

        Args:
          x: inputs, `[batch, time, features]` (`[time, batch, features]` if `time_major`).
          lengths: valid steps of each row, integers `[batch]`; None means all. See `jaxrnn.core.lstm`.
          state: as returned, each part `[num_layers * num_directions, batch, hidden]`; None means zeros.
          rngs: random streams for dropout, in place of those given to the constructor.

        Returns:
          Outputs `[batch, time, num_directions * hidden]`, and the state of every layer and direction after each
          row's last step (the backward direction's: after its first), layer-major: l0 forward, l0 backward, l1 ...

        Raises:
          ValueError: shapes or dtypes disagree, or lengths are out of range.
        """
        x = jnp.asarray(x)
        if x.ndim != 3 or x.shape[-1] != self.cells[0].in_features:
            axes = "[time, batch, {}]" if self.time_major else "[batch, time, {}]"
            raise ValueError(f"x: expected {axes.format(self.cells[0].in_features)}, got {list(x.shape)}")
        x = x if self.time_major else x.swapaxes(0, 1)
        states = self._unstack(state, batch=x.shape[1])
        last = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = self.dropout(x, rngs=rngs)
            outputs = []
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                cell = self.cells[k]
                y, final = core.unroll(
                    cell.core_cell,
                    x,
                    cell.params,
                    lengths=lengths,
                    state=states[k],
                    reverse=direction == 1,
                    backend=self.backend,
                )
                outputs.append(y)
                last.append(final)
            x = outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs, axis=-1)
        return (x if self.time_major else x.swapaxes(0, 1)), _stack(last)

    def step(self, x: AnyArray, state: Any | None = None) -> tuple[Array, Any]:
        """One step of a stream: the same numbers as the call over a whole sequence.

        Args:
          x: inputs of one step, `[batch, features]`.
          state: as returned by the step before, or by a call; None means zeros.

        Returns:
          Outputs `[batch, hidden]`, and the state.

        Raises:
          ValueError: the layer is bidirectional, whose backward direction needs the end first; or shapes disagree.
        """
        if self.num_directions == 2:
            raise ValueError("step: expected a unidirectional layer, got bidirectional=True")
        x = jnp.asarray(x)
        if x.ndim != 2:
            raise ValueError(f"x: expected [batch, {self.cells[0].in_features}], got {list(x.shape)}")
        states = self._unstack(state, batch=x.shape[0])
        last = []
        for layer, (cell, carry) in enumerate(zip(self.cells, states, strict=True)):
            if layer > 0:
                x = self.dropout(x)
            carry, x = cell(cell.initialize_carry(x.shape) if carry is None else carry, x)
            last.append(carry)
        return x, _stack(last)

    def _unstack(self, state: Any | None, batch: int) -> list[Any]:
        if state is None:
            return [None] * len(self.cells)
        cell = self.cells[0]
        state_type = cell.core_cell.state_type
        if not isinstance(state, state_type):
            raise ValueError(f"state: expected {state_type.__name__}, got {type(state).__name__}")
        expected = (len(self.cells), batch, cell.hidden_features)
        for name, part in zip(state_type._fields, state, strict=True):
            if part.shape != expected:
                raise ValueError(f"state.{name}: expected shape {list(expected)}, got {list(part.shape)}")
        return [jax.tree.map(lambda part, k=k: part[k], state) for k in range(len(self.cells))]


def _stack(states: list[Any]) -> Any:
    return jax.tree.map(lambda *parts: jnp.stack(parts), *states)


class Elman(RecurrentLayer):
    """Elman layers, φ = tanh or ReLU; see `jaxrnn.core.elman` for the equations, `RecurrentLayer` for the arguments."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        bidirectional: bool = False,
        dropout_rate: float = 0.0,
        time_major: bool = False,
        init: InitName = "orthogonal",
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: BackendName | None = None,
        rngs: nnx.Rngs,
    ):
        def make_cell(width: int) -> ElmanCell:
            return ElmanCell(
                width,
                hidden_features,
                activation=activation,
                init=init,
                double_bias=double_bias,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        super().__init__(
            make_cell,
            in_features,
            hidden_features,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout_rate=dropout_rate,
            time_major=time_major,
            backend=backend,
            rngs=rngs,
        )


class LSTM(RecurrentLayer):
    """LSTM layers; see `jaxrnn.core.lstm` for the equations and `RecurrentLayer` for the arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> lstm = LSTM(3, 4, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
      >>> y, state = lstm(jnp.ones((2, 5, 3)), lengths=jnp.array([5, 3]))
      >>> y.shape, state.h.shape, float(abs(y[1, 3:]).sum())
      ((2, 5, 8), (4, 2, 4), 0.0)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout_rate: float = 0.0,
        time_major: bool = False,
        init: InitName = "orthogonal",
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: BackendName | None = None,
        rngs: nnx.Rngs,
    ):
        def make_cell(width: int) -> LSTMCell:
            return LSTMCell(
                width,
                hidden_features,
                init=init,
                double_bias=double_bias,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        super().__init__(
            make_cell,
            in_features,
            hidden_features,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout_rate=dropout_rate,
            time_major=time_major,
            backend=backend,
            rngs=rngs,
        )


class GRU(RecurrentLayer):
    """GRU layers of either family; see `jaxrnn.core.gru` for the equations, `RecurrentLayer` for the arguments."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        *,
        reset_after: bool = True,
        bidirectional: bool = False,
        dropout_rate: float = 0.0,
        time_major: bool = False,
        init: InitName = "orthogonal",
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: BackendName | None = None,
        rngs: nnx.Rngs,
    ):
        def make_cell(width: int) -> GRUCell:
            return GRUCell(
                width,
                hidden_features,
                reset_after=reset_after,
                init=init,
                double_bias=double_bias,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        super().__init__(
            make_cell,
            in_features,
            hidden_features,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout_rate=dropout_rate,
            time_major=time_major,
            backend=backend,
            rngs=rngs,
        )
