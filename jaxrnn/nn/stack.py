"""What the recurrent layers share: cells stacked in depth and in both directions, and dropout between and around them.

It has no mathematics of its own: each direction of each layer is a cell's weights given to the core.
"""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, Unpack, get_args, overload

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn import core
from jaxrnn.nn.arguments import as_rngs, full_signature, refuse_unknown
from jaxrnn.nn.axes import check_inputs, to_time_major
from jaxrnn.nn.cells import CellOptions, RecurrentCell
from jaxrnn.nn.regularization import StateRegularization, checked_dropout
from jaxrnn.nn.states import stack, unstack
from jaxrnn.typing import AnyArray

Merge = Literal["concat", "sum", "mean", "mul"]
Connections = Literal["plain", "residual", "dense"]


class LayerOptions(CellOptions, total=False):
    """The options of all layers, for type checkers; `RecurrentLayer` says what each means."""

    bidirectional: bool
    merge: Merge
    connections: Connections
    dropout_rate: float
    input_dropout_rate: float
    output_dropout_rate: float
    variational_dropout: bool
    recurrent_dropout_rate: float
    zoneout_rate: float | tuple[float, ...]
    weight_drop_rate: float
    max_gradient: float | None
    remat_chunk: int | None
    time_major: bool
    backend: core.BackendName | None


class RecurrentLayer(nnx.Module):
    """The base of `LSTM`, `GRU` and `Elman`: the stack, the directions, and the call.

    All dropout acts while training only (`model.train()`), and its masks are drawn outside the loop over time.

    Args of the layers' constructors:
      in_features: D, width of the input.
      hidden_features: H, width of each direction's state; or a width for each layer.
      num_layers: L, layers in depth.
      bidirectional: Run each layer in both directions.
      merge: How the outputs of the two directions are joined: "concat" (side by side), "sum", "mean" or "mul"
        (product).
      connections: "plain"; "residual", each layer but the first adds its input to its output; or "dense", each
        layer's input is the network's input and the outputs of all layers below it, side by side.
      dropout_rate: Dropout of the outputs of every layer but the last.
      input_dropout_rate: Dropout of the input.
      output_dropout_rate: Dropout of the last layer's output.
      variational_dropout: Whether those three dropouts have one mask for all steps of a row (Gal & Ghahramani 2016,
        arXiv:1512.05287).
      recurrent_dropout_rate: Dropout of h on its way into the recurrent product, one mask for all steps of a row.
      zoneout_rate: Probability that an element of the state keeps its old value; one number, or one for each part of
        the state (h, c). At evaluation the expectation is taken (Krueger et al. 2017, arXiv:1606.01305).
      weight_drop_rate: Dropout of the elements of w_h, drawn once a call (DropConnect; Merity et al. 2018,
        arXiv:1708.02182).
      max_gradient: See `jaxrnn.core.Options`.
      remat_chunk: See `jaxrnn.core.Options`.
      time_major: Whether inputs and outputs are `[time, batch, ...]` rather than `[batch, time, ...]`.
      backend: See `jaxrnn.core.resolve_backend`.
      init, use_bias, double_bias, learn_state, dtype, param_dtype: See `jaxrnn.nn.RecurrentCell`.
      rngs: Flax random streams, or a seed: `params`, and `dropout` where it is not given at the call.

    Raises:
      ValueError: An argument is out of range, or two contradict each other.
      TypeError: There is no such argument; the message names one that may have been meant.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls.__signature__ = full_signature(cls, RecurrentLayer, RecurrentCell)

    def __init__(
        self,
        cell_type: Callable[..., RecurrentCell],
        in_features: int,
        hidden_features: int | Sequence[int],
        num_layers: int,
        cell_arguments: dict[str, Any],
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        connections: Connections = "plain",
        dropout_rate: float = 0.0,
        input_dropout_rate: float = 0.0,
        output_dropout_rate: float = 0.0,
        variational_dropout: bool = False,
        recurrent_dropout_rate: float = 0.0,
        zoneout_rate: float | tuple[float, ...] = 0.0,
        weight_drop_rate: float = 0.0,
        max_gradient: float | None = None,
        remat_chunk: int | None = None,
        time_major: bool = False,
        backend: core.BackendName | None = None,
        rngs: nnx.Rngs | int,
        **cell_options: Unpack[CellOptions],
    ):
        refuse_unknown(type(self), cell_options.keys() - CellOptions.__annotations__.keys())
        core.check_backend(backend)
        core.check_positive("max_gradient", max_gradient)
        core.check_count("remat_chunk", remat_chunk)
        for name, value, kind in (("merge", merge, Merge), ("connections", connections, Connections)):
            if value not in get_args(kind):
                raise ValueError(f"{name}: expected one of {', '.join(get_args(kind))}, got {value!r}")
        rngs = as_rngs(rngs)
        widths = _layer_widths(hidden_features, num_layers)
        self.num_layers = len(widths)
        self.num_directions = 2 if bidirectional else 1
        self.merge = merge
        self.connections = connections
        self.time_major = time_major
        self.max_gradient = max_gradient
        self.remat_chunk = remat_chunk
        self.backend: core.BackendName | None = backend

        cells = []
        arguments = cell_arguments | cell_options
        for width in widths:  # layer-major, then direction: the order of the states, as in PyTorch
            cells += [cell_type(in_features, width, rngs=rngs, **arguments) for _ in range(self.num_directions)]
            out = self._merged_features(cells[-1])
            if connections == "residual" and len(cells) > self.num_directions and out != in_features:
                raise ValueError(f"hidden_features: expected layers of one width for residual, got {list(widths)}")
            in_features = in_features + out if connections == "dense" else out
        self.out_features = self._merged_features(cells[-1])
        self.cells = nnx.List(cells)
        # Inside the module x is time-major: the mask of variational dropout is broadcast over the first axis.
        shared = (0,) if variational_dropout else ()
        self.dropout = checked_dropout("dropout_rate", dropout_rate, rngs, shared)
        self.input_dropout = checked_dropout("input_dropout_rate", input_dropout_rate, rngs, shared)
        self.output_dropout = checked_dropout("output_dropout_rate", output_dropout_rate, rngs, shared)
        self.weight_drop = checked_dropout("weight_drop_rate", weight_drop_rate, rngs)
        self.regularization = StateRegularization(
            cells[0].core_cell.state_type, recurrent_dropout_rate, zoneout_rate, rngs=rngs
        )

    @overload
    def __call__(
        self,
        x: AnyArray,
        *,
        lengths: AnyArray | None = None,
        mask: AnyArray | None = None,
        resets: AnyArray | None = None,
        state: Any | None = None,
        all_states: Literal[False] = False,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Array, Any]: ...
    @overload
    def __call__(
        self,
        x: AnyArray,
        *,
        lengths: AnyArray | None = None,
        mask: AnyArray | None = None,
        resets: AnyArray | None = None,
        state: Any | None = None,
        all_states: Literal[True],
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Array, Any, Any]: ...
    def __call__(
        self,
        x: AnyArray,
        *,
        lengths: AnyArray | None = None,
        mask: AnyArray | None = None,
        resets: AnyArray | None = None,
        state: Any | None = None,
        all_states: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Any, ...]:
        """Runs the layers over sequences.

        Args:
          x: Inputs, `[batch, time, features]` (`[time, batch, features]` if `time_major`).
          lengths: Valid steps of each row, integers `[batch]`; None means all. See `jaxrnn.core.Options`.
          mask: Valid steps, booleans `[batch, time]` (or time-major), in place of lengths; it may have gaps.
          resets: Booleans `[batch, time]` (or time-major), true where a new sequence starts inside a row.
          state: As returned, each part `[num_layers * num_directions, batch, hidden]`; None means zeros, or the learnt
            state.
          all_states: Return every step's state as well.
          rngs: Random streams for dropout, in place of those given to the constructor.

        Returns:
          Outputs `[batch, time, out_features]`, and the state of every layer and direction after each row's last step
          (the backward direction's: after its first), layer-major: l0 forward, l0 backward, l1 ... Layers of different
          widths have states that do not stack, and give a tuple of them. With `all_states` also every step's state,
          each part `[num_layers * num_directions, batch, time, hidden]` (or time before batch).

        Raises:
          ValueError: Shapes or dtypes disagree, or lengths are out of range.
        """
        x = jnp.asarray(x)
        check_inputs(x, ("time", "batch") if self.time_major else ("batch", "time"), self.cells[0].in_features)
        x, mask, resets = to_time_major(x, mask, resets, time_major=self.time_major)
        time, batch = x.shape[:2]
        states = unstack(self.cells, state, batch)
        x = self.input_dropout(x, rngs=rngs)
        params, dropouts, zoneouts = [], [], []
        for cell in self.cells:
            params.append(self._params(cell, rngs))
            drawn = self.regularization.draw(batch, cell.state_widths, time=time, rngs=rngs)
            dropouts.append(drawn["recurrent_dropout"])
            zoneouts.append(drawn["zoneout"])
        y, last, *every = core.unroll_layers(
            self.cells[0].core_cell,
            x,
            self._by_layer(params),
            lengths=lengths,
            mask=mask,
            resets=resets,
            state=self._by_layer(states),
            reset_state=self._by_layer([cell.learnt_state(batch) for cell in self.cells]),
            recurrent_dropout=self._by_layer(dropouts),
            zoneout=self._by_layer(zoneouts),
            max_gradient=self.max_gradient,
            remat_chunk=self.remat_chunk,
            all_states=all_states,
            connect=self._connect_with(rngs),
            backend=self.backend,
        )
        y = self.output_dropout(y, rngs=rngs)
        if not self.time_major:
            y = y.swapaxes(0, 1)
            every = jax.tree.map(lambda part: part.swapaxes(0, 1), every)
        return y, *(stack(self.cells, [part for layer in layers for part in layer]) for layers in (last, *every))

    def step(self, x: AnyArray, state: Any | None = None, *, rngs: nnx.Rngs | None = None) -> tuple[Array, Any]:
        """One step of a stream: the same numbers as the call over a whole sequence.

        While training, dropout draws new masks at every step.

        Args:
          x: Inputs of one step, `[batch, features]`.
          state: As returned by the step before, or by a call; None means zeros, or the learnt state.
          rngs: Random streams for dropout, in place of those given to the constructor.

        Returns:
          Outputs `[batch, out_features]`, and the state.

        Raises:
          ValueError: The layer is bidirectional, whose backward direction needs the end first; or shapes disagree.
        """
        if self.num_directions == 2:
            raise ValueError("step: expected a unidirectional layer, got bidirectional=True")
        x = jnp.asarray(x)
        check_inputs(x, ("batch",), self.cells[0].in_features)
        batch, dtype = x.shape[0], x.dtype
        states = unstack(self.cells, state, batch)

        def run(layer: int, x: Array) -> tuple[list[Array], Any]:
            cell, carry = self.cells[layer], states[layer]
            drawn = self.regularization.draw(batch, cell.state_widths, time=None, rngs=rngs)
            new = core.step(
                cell.core_cell,
                x[0],
                self._params(cell, rngs),
                cell.initialize_carry(x.shape[1:]) if carry is None else carry,
                dropout=drawn["recurrent_dropout"],
                zoneout=drawn["zoneout"],
            )
            return [new.h[None].astype(dtype)], new

        # With a time axis of one, over which dropout may share its mask.
        x = self.input_dropout(x[None], rngs=rngs)
        y, last = core.stack_layers(self.num_layers, x, run, self._connect_with(rngs) or core.side_by_side)
        return self.output_dropout(y, rngs=rngs)[0], stack(self.cells, last)

    def last(self, state: Any) -> Array:
        """The final hidden state of the last layer, its directions side by side.

        Args:
          state: As returned by a call.

        Returns:
          `[batch, num_directions * hidden]`, where hidden is the width of one direction's output.

        Example:
          >>> import jax.numpy as jnp
          >>> from jaxrnn import nn
          >>> lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True, rngs=0)
          >>> _, state = lstm(jnp.ones((2, 5, 3)))
          >>> lstm.last(state).shape
          (2, 8)
        """
        cells = self.cells[-self.num_directions :]
        if isinstance(state, self.cells[0].core_cell.state_type):
            return jnp.concatenate(list(state.h[-len(cells) :]), axis=-1)
        return jnp.concatenate([part.h for part in state[-len(cells) :]], axis=-1)

    def _by_layer(self, items: Sequence[Any]) -> list[Sequence[Any]]:
        """One item for each cell, arranged by layer and direction."""
        return [items[k : k + self.num_directions] for k in range(0, len(items), self.num_directions)]

    def _params(self, cell: RecurrentCell, rngs: nnx.Rngs | None) -> Any:
        params = cell.params
        return params._replace(w_h=self.weight_drop(params.w_h, rngs=rngs)) if self.weight_drop.rate else params

    def _merged_features(self, cell: RecurrentCell) -> int:
        return cell.out_features * (self.num_directions if self.merge == "concat" else 1)

    def _merge(self, outputs: Sequence[Array]) -> Array:
        if self.merge == "concat" or len(outputs) == 1:
            return jnp.concatenate(outputs, axis=-1)
        y = reduce(operator.mul if self.merge == "mul" else operator.add, outputs)
        return y / 2 if self.merge == "mean" else y

    def _connect_with(self, rngs: nnx.Rngs | None) -> Callable[[int, Array, Sequence[Array]], Array] | None:
        """How layers are connected; None if nothing acts between them, and their directions stand side by side."""
        drops = self.dropout.rate and not self.dropout.deterministic and self.num_layers > 1
        concatenates = self.merge == "concat" or self.num_directions == 1
        if self.connections == "plain" and concatenates and not drops:
            return None

        def connect(layer: int, x: Array, outputs: Sequence[Array]) -> Array:
            y = self._merge(outputs)
            if layer < self.num_layers - 1:
                y = self.dropout(y, rngs=rngs)
            if self.connections == "residual" and layer > 0:
                return x + y
            if self.connections == "dense" and layer < self.num_layers - 1:
                return jnp.concatenate([x, y], axis=-1)
            return y

        return connect


def _layer_widths(hidden_features: int | Sequence[int], num_layers: int) -> list[int]:
    if num_layers < 1:
        raise ValueError(f"num_layers: expected at least 1, got {num_layers}")
    if isinstance(hidden_features, int):
        return [hidden_features] * num_layers
    if num_layers not in (1, len(hidden_features)):
        raise ValueError(f"hidden_features: expected {num_layers} widths, one a layer, got {list(hidden_features)}")
    if not hidden_features:
        raise ValueError("hidden_features: expected at least one width, got none")
    return list(hidden_features)
