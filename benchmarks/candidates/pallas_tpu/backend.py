"""The backend that runs recurrences by the TPU kernel of `pallas_tpu_program`, both directions of a layer in one."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core import versions
from jaxrnn.core.call import Call, platform_of
from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Fixed, Loop, Steps, length_mask, zero_padding
from jaxrnn.core.fused_scan import recurrence, tangent
from jaxrnn.core.kernel import Kernel
from jaxrnn.core.pallas_tpu_program import LANES, Direction, choose_sizes, unroll
from jaxrnn.core.parameters import Params, State

ALLOWED = ("params.peephole", "params.norm")
Static = tuple[Cell, tuple[bool, ...]]  # and of each direction, whether it runs from the end


def why_not_here() -> str | None:
    """Why this machine cannot run the kernel; None: it can."""
    platform = platform_of(None)
    if platform != "tpu":
        return f"needs a TPU, and JAX runs on {platform}"
    module = versions.pallas_tpu()
    return module if isinstance(module, str) else None


def why_not(call: Call) -> str | None:
    """Why the kernel cannot serve a call; None: it can."""
    unknown = [name for name in call.options if name not in ALLOWED]
    for refused, reason in (
        (call.platform != "tpu", f"needs a TPU, and this call runs on {call.platform}"),
        (
            call.dtype not in ("float32", "bfloat16"),
            f"computes in float32 or bfloat16, and the weights are {call.dtype}",
        ),
        (unknown, f"knows no {', '.join(unknown)}"),
        (call.divided, "runs on one device"),
        (call.hidden % LANES != 0, f"needs a multiple of {LANES} hidden units, got {call.hidden}"),
        (call.time == 0 or call.batch == 0, "needs at least one step and one row"),
    ):
        if refused:
            return reason
    module = versions.pallas_tpu()
    if isinstance(module, str):
        return module
    sizes = choose_sizes(
        call.cell,
        time=call.time,
        batch=call.batch,
        hidden=call.hidden,
        directions=call.num_directions,
        weight_bytes=jnp.dtype(call.dtype).itemsize,
        save=True,
    )
    if sizes is None:
        return f"has no room in VMEM for {call.hidden} hidden units and {call.batch} rows, or no even part of them"
    return None


def run(loop: Loop, x: Array, params: Params, state: State, fixed: Fixed, steps: Steps) -> tuple[Array | State, State]:
    """One direction of one layer, as the scans run it; the mask is that of lengths."""
    lengths = None if steps.mask is None else steps.mask.sum(0)
    ((y, last),) = _run_layer(loop.cell, (loop.reverse,), x, (params,), (state,), lengths)
    return y, last


def run_layers(
    cell: Cell, x: Array, layers: Sequence[Sequence[Params]], states: Sequence[Sequence[State]], lengths: Array | None
) -> tuple[Array, tuple]:
    """Layers of weights on states: outputs `[time, batch, directions * hidden]`, zero past the lengths; last states."""
    mask, dtype, every = length_mask(lengths, x.shape[0]), x.dtype, []
    for params, entered in zip(layers, states, strict=True):
        pairs = _run_layer(cell, (False, True)[: len(params)], x, params, entered, lengths)
        x = jnp.concatenate([zero_padding(mask, y).astype(dtype) for y, _ in pairs], axis=-1)
        every.append(tuple(last for _, last in pairs))
    return x, tuple(every)


def _run_layer(
    cell: Cell,
    reverse: tuple[bool, ...],
    x: Array,
    params: Sequence[Params],
    states: Sequence[State],
    lengths: Array | None,
) -> list[tuple[Array, State]]:
    time, batch = x.shape[:2]
    x = zero_padding(length_mask(lengths, time), x)
    arguments = tuple(
        (cell.project(x, p), p._replace(w_x=None), state) for p, state in zip(params, states, strict=True)
    )
    lengths = jnp.full(batch, time, jnp.int32) if lengths is None else jnp.asarray(lengths, jnp.int32)
    return KERNEL((cell, reverse), arguments, lengths)


def _by_kernel(static: Static, arguments: tuple, lengths: Array, *, save: bool) -> list:
    cell, reverse = static
    directions = []
    for u, params, state in arguments:
        w_h = params.w_h.reshape(params.w_h.shape[0], -1)
        rest = params._replace(w_h=None, b=None)
        directions.append(Direction(u.reshape(*u.shape[:2], -1), w_h, params.b.reshape(1, -1), rest, state))
    return unroll(cell, reverse, tuple(directions), lengths, save=save)


def _forward(static: Static, arguments: tuple, lengths: Array) -> list[tuple[Array, State]]:
    return [(y, last) for y, last, _ in _by_kernel(static, arguments, lengths, save=False)]


def _save(static: Static, arguments: tuple, lengths: Array) -> tuple[list[tuple[Array, State]], list[tuple]]:
    outputs = _by_kernel(static, arguments, lengths, save=True)
    return [(y, last) for y, last, _ in outputs], [saved for *_, saved in outputs]


def _pull(
    static: Static, arguments: tuple, lengths: Array, results: list, saved: list, cotangents: list
) -> tuple[tuple, ...]:
    """The fused scan's tangent, transposed, at what the kernel saved."""
    cell, reverse = static
    steps = Steps(mask=length_mask(lengths, arguments[0][0].shape[0]))
    pulled = []
    for backwards, primals, (y, _), (pre, *parts), d_results in zip(
        reverse, arguments, results, saved, cotangents, strict=True
    ):
        initial = primals[2]
        entered = _before(backwards, type(initial)(y, *parts), initial)
        kept = pre.reshape(*pre.shape[:2], cell.num_slots, -1), entered
        loop = Loop(cell, backwards)

        def of(tangents: tuple, loop: Loop = loop, primals: tuple = primals, kept: tuple = kept) -> Any:
            return tangent(loop, (*primals, Fixed(), steps), kept, (*tangents, Fixed(), steps))

        pulled.append(jax.linear_transpose(of, primals)(d_results)[0])
    return tuple(pulled)


def _before(backwards: bool, after: State, initial: State) -> State:
    """The states that the steps were entered with, from those that they left, `[time, batch, hidden]` each."""
    if backwards:
        return jax.tree.map(lambda a, first: jnp.concatenate([a[1:], first[None]]), after, initial)
    return jax.tree.map(lambda a, first: jnp.concatenate([first[None], a[:-1]]), after, initial)


def _plain(static: Static, arguments: tuple, lengths: Array) -> list[tuple[Array, State]]:
    cell, reverse = static
    steps = Steps(mask=length_mask(lengths, arguments[0][0].shape[0]))
    return [
        recurrence(Loop(cell, backwards), *primals, Fixed(), steps)
        for backwards, primals in zip(reverse, arguments, strict=True)
    ]


KERNEL = Kernel("tpu", _plain, _forward, _save, _pull)
