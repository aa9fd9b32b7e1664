"""The backend that runs recurrences by the TPU kernel of `program`, both directions of a layer in one."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.candidates.pallas_tpu import program
from jaxrnn.core.call import Call, platform_of
from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Direction, Fixed, Loop, Results, Steps, length_mask, mask_lengths, zero_padding
from jaxrnn.core.kernels.kernel import Kernel
from jaxrnn.core.parameters import State
from jaxrnn.core.scans.fused import recurrence, tangent

ALLOWED = ("params.peephole", "params.norm")
Static = tuple[Cell, tuple[bool, ...]]  # and of each direction, whether it runs from the end


def why_not_here() -> str | None:
    """The reason why this machine cannot run the kernel; None means that it can."""
    platform = platform_of(None)
    if platform != "tpu":
        return f"needs a TPU, and JAX runs on {platform}"
    return why_no_pallas()


def why_no_pallas() -> str | None:
    """The reason why JAX's Pallas cannot compile the kernel; None means that it can."""
    try:
        from jax.experimental.pallas import tpu
    except ImportError as error:
        return f"JAX {jax.__version__} has no Pallas for TPU: {error}"
    missing = [name for name in ("CompilerParams", "VMEM", "InterpretParams") if not hasattr(tpu, name)]
    return f"Pallas of JAX {jax.__version__} has no {', '.join(missing)}" if missing else None


def why_not(call: Call) -> str | None:
    """The reason why the kernel cannot serve a call; None means that it can."""
    unknown = [name for name in call.options if name not in ALLOWED]
    for refused, reason in (
        (call.platform != "tpu", f"needs a TPU, and this call runs on {call.platform}"),
        (
            call.dtype not in ("float32", "bfloat16"),
            f"computes in float32 or bfloat16, and the weights are {call.dtype}",
        ),
        (unknown, f"does not support {', '.join(unknown)}"),
        (call.divided, "runs on one device"),
        (call.hidden % program.LANES != 0, f"needs a multiple of {program.LANES} hidden units, got {call.hidden}"),
        (call.time == 0 or call.batch == 0, "needs at least one step and one row"),
    ):
        if refused:
            return reason
    missing = why_no_pallas()
    if missing is not None:
        return missing
    sizes = program.choose_sizes(
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


def run(x: Array, directions: Sequence[Direction]) -> Sequence[Results]:
    """One layer, in one direction or both, in one program."""
    mask = directions[0].steps.mask
    x = zero_padding(mask, x)
    arguments = tuple((d.loop.cell.project(x, d.params), d.params._replace(w_x=None), d.state) for d in directions)
    static = directions[0].loop.cell, tuple(d.loop.reverse for d in directions)
    return KERNEL(static, arguments, mask_lengths(mask, *x.shape[:2]))


def _by_kernel(static: Static, arguments: tuple, lengths: Array, *, save: bool) -> list:
    cell, reverse = static
    directions = []
    for u, params, state in arguments:
        w_h = params.w_h.reshape(params.w_h.shape[0], -1)
        rest = params._replace(w_h=None, b=None)
        directions.append(program.Arrays(u.reshape(*u.shape[:2], -1), w_h, params.b.reshape(1, -1), rest, state))
    return program.unroll(cell, reverse, tuple(directions), lengths, save=save)


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
