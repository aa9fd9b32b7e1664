"""What the recurrent layers share: cells stacked in depth and both directions, and what acts between and around them.

It has no mathematics of its own: each direction of each layer is a cell's weights given to the core.
"""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, Unpack, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn import core
from jaxrnn.core.checks import check_count, check_positive
from jaxrnn.nn.axes import check_inputs, to_time_major
from jaxrnn.nn.cells import CellOptions, RecurrentCell
from jaxrnn.nn.regularization import StateRegularization, checked_dropout
from jaxrnn.nn.states import stack, stacks, unstack
from jaxrnn.typing import AnyArray

Merge = Literal["concat", "sum", "mean", "mul"]
Connections = Literal["plain", "residual", "dense"]


class LayerOptions(CellOptions, total=False):
    """What all layers can be asked for; `RecurrentLayer` says what each means."""

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
    """What the three layers share: the stack, the directions, and the call.

    All dropout acts while training only (`model.train()`), and its masks are drawn outside the loop over time.

    Args of the layers' constructors:
      in_features: D, width of the input.
      hidden_features: H, width of each direction's state; or a width for each layer.
      num_layers: L, layers in depth.
      bidirectional: run each layer in both directions.
      merge: what the two directions' outputs become: "concat" (side by side), "sum", "mean" or "mul" (product).
      connections: "plain"; "residual", each layer but the first adds its input to its output; or "dense", each
        layer's input is all that came before, the network's input included, side by side.
      dropout_rate: of the outputs of every layer but the last.
      input_dropout_rate: of the input.
      output_dropout_rate: of the last layer's output.
      variational_dropout: those three dropouts have one mask for all steps of a row (Gal & Ghahramani 2016).
      recurrent_dropout_rate: of h on its way into the recurrent product, one mask for all steps of a row.
      zoneout_rate: probability that an element of the state keeps its old value; one number, or one for each part of
        the state (h, c). At evaluation the expectation is taken (Krueger et al. 2017, arXiv:1606.01305).
      weight_drop_rate: of the elements of w_h, once a call (DropConnect; Merity et al. 2018, arXiv:1708.02182).
      max_gradient: see `jaxrnn.core.unroll`.
      remat_chunk: see `jaxrnn.core.unroll`.
      time_major: inputs and outputs are `[time, batch, ...]` rather than `[batch, time, ...]`.
      backend: see `jaxrnn.core.resolve_backend`.
      init, use_bias, double_bias, learn_state, dtype, param_dtype: see `jaxrnn.nn.RecurrentCell`.
      rngs: Flax random streams: `params`, and `dropout` where it is not given at the call.
    """

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
        rngs: nnx.Rngs,
        **cell_options: Unpack[CellOptions],
    ):
        core.check_backend(backend)
        check_positive("max_gradient", max_gradient)
        check_count("remat_chunk", remat_chunk)
        for name, value, kind in (("merge", merge, Merge), ("connections", connections, Connections)):
            if value not in get_args(kind):
                raise ValueError(f"{name}: expected one of {', '.join(get_args(kind))}, got {value!r}")
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
    ) -> tuple[Array, Any] | tuple[Array, Any, Any]:
        """Runs the layers over sequences.

        Args:
          x: inputs, `[batch, time, features]` (`[time, batch, features]` if `time_major`).
          lengths: valid steps of each row, integers `[batch]`; None means all. See `jaxrnn.core.unroll`.
          mask: valid steps, booleans `[batch, time]` (or time-major), in place of lengths; it may have gaps.
          resets: booleans `[batch, time]` (or time-major), true where a new sequence starts inside a row.
          state: as returned, each part `[num_layers * num_directions, batch, hidden]`; None means zeros, or the learnt
            state.
          all_states: return every step's state as well.
          rngs: random streams for dropout, in place of those given to the constructor.

        Returns:
          Outputs `[batch, time, out_features]`, and the state of every layer and direction after each row's last step
          (the backward direction's: after its first), layer-major: l0 forward, l0 backward, l1 ... Layers of different
          widths have states that do not stack: a tuple of them then. With `all_states` also every step's state, each
          part `[num_layers * num_directions, batch, time, hidden]` (or time before batch).

        Raises:
          ValueError: shapes or dtypes disagree, or lengths are out of range.
        """
        x = jnp.asarray(x)
        check_inputs(x, ("time", "batch") if self.time_major else ("batch", "time"), self.cells[0].in_features)
        x, mask, resets = to_time_major(x, mask, resets, time_major=self.time_major)
        states = unstack(self.cells, state, x.shape[1])
        last, every = [], []
        x = self.input_dropout(x, rngs=rngs)
        plain = mask is None and resets is None and not all_states and self._plain
        for layers in self._groups(plain):
            if plain:
                outputs, final = self._unroll_layers(layers, x, rngs, states, lengths)
            else:
                options = {"lengths": lengths, "mask": mask, "resets": resets, "all_states": all_states}
                outputs, final, steps = self._unroll_directions(layers[0], x, rngs, states, options)
                every += steps
            last += final
            x = self._connect(layers[-1], x, outputs, rngs)
        y = self.output_dropout(x, rngs=rngs)
        if not self.time_major:
            y = y.swapaxes(0, 1)
        if not all_states:
            return y, stack(self.cells, last)
        if not self.time_major:
            every = jax.tree.map(lambda part: part.swapaxes(0, 1), every)
        return y, stack(self.cells, last), stack(self.cells, every)

    def step(self, x: AnyArray, state: Any | None = None, *, rngs: nnx.Rngs | None = None) -> tuple[Array, Any]:
        """One step of a stream: the same numbers as the call over a whole sequence.

        While training, dropout draws new masks at every step.

        Args:
          x: inputs of one step, `[batch, features]`.
          state: as returned by the step before, or by a call; None means zeros, or the learnt state.
          rngs: random streams for dropout, in place of those given to the constructor.

        Returns:
          Outputs `[batch, out_features]`, and the state.

        Raises:
          ValueError: the layer is bidirectional, whose backward direction needs the end first; or shapes disagree.
        """
        if self.num_directions == 2:
            raise ValueError("step: expected a unidirectional layer, got bidirectional=True")
        x = jnp.asarray(x)
        check_inputs(x, ("batch",), self.cells[0].in_features)
        batch, dtype = x.shape[0], x.dtype
        states = unstack(self.cells, state, batch)
        last = []
        # With a time axis of one, which a mask shared over time is shared over.
        x = self.input_dropout(x[None], rngs=rngs)
        for layer, (cell, carry) in enumerate(zip(self.cells, states, strict=True)):
            drawn = self.regularization.draw(batch, cell.state_widths, time=None, rngs=rngs)
            new = core.step(
                cell.core_cell,
                x[0],
                self._params(cell, rngs),
                cell.initialize_carry(x.shape[1:]) if carry is None else carry,
                dropout=drawn["recurrent_dropout"],
                zoneout=drawn["zoneout"],
            )
            last.append(new)
            x = self._connect(layer, x, [new.h[None].astype(dtype)], rngs)
        return self.output_dropout(x, rngs=rngs)[0], stack(self.cells, last)

    @property
    def _plain(self) -> bool:
        """Whether nothing acts inside the layers, so that the core may run several directions and layers together."""
        return (
            self.max_gradient is None
            and self.remat_chunk is None
            and not any(self.regularization.rates)
            and (self.merge == "concat" or self.num_directions == 1)
        )

    def _groups(self, plain: bool) -> list[range]:
        """The layers that run together: all, if nothing acts inside them or between, and else each by itself."""
        dropout = self.dropout.rate and not self.dropout.deterministic
        if plain and not dropout and self.connections == "plain" and stacks(self.cells):
            return [range(self.num_layers)]
        return [range(layer, layer + 1) for layer in range(self.num_layers)]

    def _unroll_layers(
        self, layers: range, x: Array, rngs: nnx.Rngs | None, states: list[Any], lengths: AnyArray | None
    ) -> tuple[list[Array], list[Any]]:
        """Layers on top of each other with nothing between, over the input `[time, batch, features]` of the first."""
        places = [[layer * self.num_directions + d for d in range(self.num_directions)] for layer in layers]
        params = [[self._params(self.cells[k], rngs) for k in layer] for layer in places]
        state = [[states[k] for k in layer] for layer in places]
        core_cell = self.cells[0].core_cell
        y, last = core.unroll_layers(core_cell, x, params, lengths=lengths, state=state, backend=self.backend)
        return [y], [part for layer in last for part in layer]

    def _unroll_directions(
        self, layer: int, x: Array, rngs: nnx.Rngs | None, states: list[Any], options: dict[str, Any]
    ) -> tuple[list[Array], list[Any], list[Any]]:
        """Each direction of a layer by itself: outputs, last states, and what came out of every step."""
        first = layer * self.num_directions
        runs = [self._unroll(k, x, rngs, state=states[k], **options) for k in range(first, first + self.num_directions)]
        outputs = [y.h.astype(x.dtype) if options["all_states"] else y for y, _ in runs]
        return outputs, [last for _, last in runs], [y for y, _ in runs]

    def _unroll(self, k: int, x: Array, rngs: nnx.Rngs | None, **options: Any) -> tuple[Any, Any]:
        """One direction of one layer, over its input `[time, batch, features]`."""
        time, batch = x.shape[:2]
        cell = self.cells[k]
        return core.unroll(
            cell.core_cell,
            x,
            self._params(cell, rngs),
            reverse=k % self.num_directions == 1,
            reset_state=cell.learnt_state(batch),
            **self.regularization.draw(batch, cell.state_widths, time=time, rngs=rngs),
            max_gradient=self.max_gradient,
            remat_chunk=self.remat_chunk,
            backend=self.backend,
            **options,
        )

    def _params(self, cell: RecurrentCell, rngs: nnx.Rngs | None) -> Any:
        params = cell.params
        return params._replace(w_h=self.weight_drop(params.w_h, rngs=rngs)) if self.weight_drop.rate else params

    def _merged_features(self, cell: RecurrentCell) -> int:
        return cell.out_features * (self.num_directions if self.merge == "concat" else 1)

    def _merge(self, outputs: list[Array]) -> Array:
        if self.merge == "concat" or len(outputs) == 1:
            return jnp.concatenate(outputs, axis=-1)
        y = reduce(operator.mul if self.merge == "mul" else operator.add, outputs)
        return y / 2 if self.merge == "mean" else y

    def _connect(self, layer: int, x: Array, outputs: list[Array], rngs: nnx.Rngs | None) -> Array:
        """What the next layer sees, from this one's input and the outputs of its directions."""
        y = self._merge(outputs)
        if layer < self.num_layers - 1:
            y = self.dropout(y, rngs=rngs)
        if self.connections == "residual" and layer > 0:
            return x + y
        if self.connections == "dense" and layer < self.num_layers - 1:
            return jnp.concatenate([x, y], axis=-1)
        return y


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
