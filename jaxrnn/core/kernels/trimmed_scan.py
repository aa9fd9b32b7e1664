"""The fused scan over the rows that have not ended, for a CPU and batches whose lengths differ.

Inputs are packed (`jaxrnn.core.kernels.packed_rows`), stay packed through all layers and directions, and are unpacked
at the end. The loops are those of the fused scan with the input's projection inside: a product over the rows of one
step is as fast as one over all steps, and nothing has to be stored for it. The reverse loop writes the gradients of the
pre-activations over the pre-activations; the gradients of weights and inputs are then products over tiles of entries.

It is a kernel beside the fused scan (`jaxrnn.core.kernels.kernel`) because JAX cannot differentiate a loop whose number
of turns it does not know. It has no mathematics of its own: a step is the fused scan's, and its derivative is the
transpose of the fused scan's tangent. docs/design/003-cpu.md says what it gains and what it costs to compile.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.call import VARIANTS, Call, platform_of
from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Direction, Fixed, Loop, Results, Steps, hold
from jaxrnn.core.kernels.kernel import Kernel
from jaxrnn.core.kernels.packed_rows import PackedRows, Part
from jaxrnn.core.linear import accumulator
from jaxrnn.core.parameters import Layers, Params, State
from jaxrnn.core.scans.fused import (
    fused_layers,
    tangent_of_projection,
    tangent_outside,
    tangent_step,
    transpose_recurrent,
)
from jaxrnn.core.stacking import stack_layers
from jaxrnn.core.step import preactivations, project_output

ALLOWED = ("all_states", *(f"params.{name}" for name in VARIANTS))
OUTSIDE = ("w_x", "w_h", "b")  # weights whose gradients are taken outside the reverse loop
WORTH_COMPILING = 4e9  # floating-point operations of one direction's forward pass

Arguments = tuple[Array, Layers, Layers]  # x, weights, states
Loops = tuple[Loop, ...]  # of each direction


def why_not_here() -> str | None:
    """The reason why it is of no use on this machine; None means that it is of use."""
    platform = platform_of(None)
    return None if platform == "cpu" else f"is for a CPU, and JAX runs on {platform}"


def why_not(call: Call) -> str | None:
    """The reason why it cannot serve a call; None means that it can."""
    unknown = [name for name in call.options if name not in ALLOWED]
    for refused, reason in (
        (call.platform != "cpu", f"is for a CPU, and this call runs on {call.platform}"),
        (unknown, f"does not support {', '.join(unknown)}"),
        (call.divided, "runs on one device"),
        (call.time == 0 or call.batch == 0, "needs at least one step and one row"),
    ):
        if refused:
            return reason
    return None


def why_not_chosen(call: Call) -> str | None:
    """The reason why it would not be the fastest for a call; None means that it was measured to be."""
    operations = 2 * call.time * call.batch * call.cell.num_gates * call.hidden * (call.features + call.hidden)
    if not call.has_lengths:
        return "gains nothing without lengths"
    if operations < WORTH_COMPILING:
        return f"takes longer to compile than it gains at {operations / 1e9:.1g} GFLOP for each direction"
    return None


def run(x: Array, directions: Sequence[Direction]) -> list[Results]:
    """One layer, in one direction or both."""
    outputs, (last,) = run_layers(x, [directions])
    return list(zip(outputs, last, strict=True))


def run_layers(x: Array, layers: Sequence[Sequence[Direction]]) -> tuple[list[Any], Layers]:
    """Layers with nothing between them: outputs of each direction of the last, and all last states."""
    loops = tuple(direction.loop for direction in layers[0])
    params, states = (tuple(tuple(getattr(d, name) for d in layer) for layer in layers) for name in ("params", "state"))
    mask = layers[0][0].steps.mask
    if mask is None:  # no row ends
        return fused_layers(loops, x, params, states, None)
    return KERNEL(loops, (x, params, states), mask.sum(0, dtype=jnp.int32))


def _plain(loops: Loops, arguments: Arguments, lengths: Array) -> tuple[list, Layers]:
    return fused_layers(loops, *arguments, lengths)


def _unroll(loops: Loops, arguments: Arguments, lengths: Array, *, save: bool) -> tuple[tuple[list, Layers], list]:
    """The results, and for each layer its packed input and the arrays that each direction saves."""
    x, layers, states = arguments
    rows = PackedRows(lengths, x.shape[0])

    def run(layer: int, packed: Array) -> tuple[list[Array], tuple]:
        given = zip(loops, layers[layer], states[layer], strict=True)
        outputs, last, saved = zip(
            *(_run(loop, rows, packed, params, rows.sort(state), save=save) for loop, params, state in given),
            strict=True,
        )
        h = [y.h if loop.all_states else y for loop, y in zip(loops, outputs, strict=True)]
        return h, (list(outputs), tuple(map(rows.unsort, last)), (packed, list(saved)))

    def connect(layer: int, packed: Array, outputs: Sequence[Array]) -> Array:
        return jnp.concatenate(outputs, axis=-1).astype(packed.dtype)

    _, results = stack_layers(len(layers), rows.pack(x), run, connect)
    outputs = jax.tree.map(rows.unpack, results[-1][0])
    return (outputs, tuple(last for _, last, _ in results)), [saved for *_, saved in results]


def _run(
    loop: Loop, rows: PackedRows, x: Array, params: Params, state: State, *, save: bool
) -> tuple[Any, State, tuple[Array, State] | None]:
    """One direction of one layer: packed outputs, last states, and what the fused scan's tangent needs."""
    cell = loop.cell

    def step(part: Part, alive: Array, state: State, written: tuple[Any, Any]) -> tuple[State, tuple[Any, Any]]:
        y, saved = written
        pre = preactivations(cell, cell.project(part.take(x), params), state, params, None)
        left = hold(alive, project_output(cell.pointwise(pre, state, params), params), state)
        y = part.put(y, left if loop.all_states else left.h)
        return left, (y, part.put(saved, (pre, state)) if save else None)

    y = rows.zeros(state if loop.all_states else state.h)
    saved = rows.zeros((_preactivations_like(cell, params, state), state)) if save else None
    last, (y, saved) = rows.over_steps(step, state, (y, saved), backwards=loop.reverse)
    return y, last, saved


def _preactivations_like(cell: Cell, params: Params, state: State) -> jax.ShapeDtypeStruct:
    shape = state.h.shape[0], cell.num_slots, params.w_h.shape[-1]
    return jax.ShapeDtypeStruct(shape, accumulator(params.w_h.dtype))


def _forward(loops: Loops, arguments: Arguments, lengths: Array) -> tuple[list, Layers]:
    return _unroll(loops, arguments, lengths, save=False)[0]


def _save(loops: Loops, arguments: Arguments, lengths: Array) -> tuple[tuple[list, Layers], list]:
    return _unroll(loops, arguments, lengths, save=True)


def _pull(
    loops: Loops,
    arguments: Arguments,
    lengths: Array,
    results: tuple[list, Layers],
    saved: list,
    cotangents: tuple[list, Layers],
) -> Arguments:
    x, layers, _ = arguments
    d_outputs, d_last = cotangents
    rows = PackedRows(lengths, x.shape[0])
    d_y, every = jax.tree.map(rows.pack, d_outputs), []
    for params, (inputs, kept), d_after in reversed(list(zip(layers, saved, d_last, strict=True))):
        runs = [
            _pull_run(loop, rows, p, each, d, rows.sort(d_left))
            for loop, p, each, d, d_left in zip(loops, params, kept, d_y, d_after, strict=True)
        ]
        d_pre, d_inside, d_states = map(list, zip(*runs, strict=True))
        d_x, d_params = _pull_products(loops[0].cell, rows, inputs, tuple(params), kept, d_pre, d_inside)
        d_params = jax.tree.map(lambda a, like: a.astype(like.dtype), d_params, tuple(params))
        every.append((d_x, d_params, tuple(map(rows.unsort, d_states))))
        width = d_x.shape[1] // len(loops)
        d_y = [d_x[:, k * width : (k + 1) * width] for k in range(len(loops))]  # of the layer below
    d_inputs, d_layers, d_entered = zip(*reversed(every), strict=True)
    return rows.unpack(d_inputs[0]), d_layers, d_entered


def _pull_run(
    loop: Loop, rows: PackedRows, params: Params, saved: tuple[Array, State], d_y: Any, d_last: State
) -> tuple[Array, Params, State]:
    """The reverse loop: cotangents of pre-activations, of the weights that act inside a step, of the first state."""
    inside, transposed = params._replace(**dict.fromkeys(OUTSIDE)), transpose_recurrent(params)
    pre, entered = saved

    def step(part: Part, alive: Array, d_state: State, carry: tuple[Array, Params]) -> tuple[State, Any]:
        pre, d_inside = carry
        kept, d_out = part.take((pre, entered)), part.take(d_y)

        def forwards(d_pre: Array, d_inside: Params, d_entered: State) -> State:
            d_h = tangent_of_projection(loop.cell, kept, inside, d_inside)
            given = Fixed(), Steps(mask=alive)
            return tangent_step(loop, (inside, transposed), given, kept, (d_pre, d_h, d_inside, Fixed(), d_entered))

        d_left = jax.tree.map(jnp.add, d_state, d_out) if loop.all_states else d_state._replace(h=d_state.h + d_out)
        d_pre, more, d_entered = jax.linear_transpose(forwards, kept[0], inside, kept[1])(d_left)
        return d_entered, (part.put(pre, d_pre), jax.tree.map(_add, d_inside, more))

    carry = pre, jax.tree.map(_zeros_for_sum, inside)  # the reverse loop writes over the pre-activations
    d_state, (d_pre, d_inside) = rows.over_steps(step, d_last, carry, backwards=not loop.reverse)
    return d_pre, d_inside, d_state


def _pull_products(
    cell: Cell,
    rows: PackedRows,
    x: Array,
    params: tuple[Params, ...],
    saved: Sequence[tuple[Array, State]],
    d_pre: list[Array],
    d_inside: list[Params],
) -> tuple[Array, tuple[Params, ...]]:
    """Cotangents of a layer's packed input and of its weights, from those of the pre-activations of its directions."""

    def tile(part: Part, carry: tuple[Array, tuple[Params, ...]]) -> tuple[Array, tuple[Params, ...]]:
        d_x, d_params = carry
        x_tile, kept = part.take((x, saved))

        def forwards(d_x: Array, d_params: tuple[Params, ...]) -> list[Array]:
            projected = [jax.jvp(cell.project, (x_tile, p), (d_x, d))[1] for p, d in zip(params, d_params, strict=True)]
            return [tangent_outside(cell, k, u, d, None) for k, u, d in zip(kept, projected, d_params, strict=True)]

        d_tile, more = jax.linear_transpose(forwards, x_tile, params)(part.take(d_pre))
        return part.put(d_x, d_tile), jax.tree.map(_add, d_params, more)

    zeros = [{name: _zeros_for_sum(getattr(p, name)) for name in OUTSIDE} for p in params]
    d_params = tuple(inside._replace(**z) for inside, z in zip(d_inside, zeros, strict=True))
    return rows.over_tiles(tile, (rows.zeros(x), d_params))


def _zeros_for_sum(weights: Array) -> Array:
    return jnp.zeros(weights.shape, accumulator(weights.dtype))


def _add(total: Array, more: Array) -> Array:
    return total + more.astype(total.dtype)


KERNEL = Kernel("cpu", _plain, _forward, _save, _pull)
