"""The backend that runs a layer on a CPU by a library in C++, all its directions in one call.

What XLA cannot do on a CPU is done there: the gates are applied while the sums of the products are in registers, a row
costs as many steps as it has, and all rows, directions and weights are divided over the threads of XLA's own pool.
docs/design/008-native.md says how, and what it gains. `source/cells.h` has the cells' equations once more, and the
contract of the backends holds them to those of `jaxrnn.core.cells`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, ShapeDtypeStruct

from jaxrnn.core.call import Call, platform_of
from jaxrnn.core.cells import ELMAN_RELU, ELMAN_TANH, GRU_RESET_AFTER, GRU_RESET_BEFORE, LSTM, Cell
from jaxrnn.core.control import Direction, Loop, Results, mask_lengths
from jaxrnn.core.kernels.kernel import Kernel
from jaxrnn.core.kernels.native import library
from jaxrnn.core.parameters import Params, State
from jaxrnn.core.scans.fused import fused_layers

# In the order of CellName in layer.h, with the number of floats that are saved for each unit and step.
CELLS: dict[Cell, int] = {ELMAN_TANH: 0, ELMAN_RELU: 0, LSTM: 5, GRU_RESET_AFTER: 4, GRU_RESET_BEFORE: 3}
DTYPES = ("float32", "bfloat16")
FEWEST_STEPS, FEWEST_PAIRS = 8, 128  # steps, and steps times rows, from which on it was faster than the fused scan
MOST_LANES = 16  # units in a vector: what is saved of a step is a whole number of vectors


class _Static(NamedTuple):
    """What is known before any array."""

    instruction_set: str
    loops: tuple[Loop, ...]  # of each direction

    @property
    def cell(self) -> Cell:
        return self.loops[0].cell


Arguments = tuple[Array, tuple[Params, ...], tuple[State, ...]]  # x, weights and first states
Outputs = tuple[Array, tuple[State, ...]]  # outputs side by side, last states


def why_not_here() -> str | None:
    """The reason why this machine cannot run it; None means that it can."""
    platform = platform_of(None)
    return library.choose().why_not if platform == "cpu" else f"is for a CPU, and JAX runs on {platform}"


def why_not(call: Call) -> str | None:
    """The reason why it cannot serve a call; None means that it can."""
    for refused, reason in (
        (call.platform != "cpu", f"is for a CPU, and this call runs on {call.platform}"),
        (call.cell not in CELLS, "serves the plain LSTM, GRU and Elman cells alone"),
        (call.dtype not in DTYPES, f"computes in float32 or bfloat16, and the weights are {call.dtype}"),
        (call.hidden == 0, "needs at least one hidden unit"),
        (call.options, f"does not support {', '.join(call.options)}"),
        (call.divided and not call.is_shard, "is divided over devices by `shard_map` alone"),
    ):
        if refused:
            return reason
    return library.choose().why_not


def why_not_chosen(call: Call) -> str | None:
    """The reason why it would not be the fastest for a call; None means that it was measured to be."""
    if call.time < FEWEST_STEPS or call.time * call.batch < FEWEST_PAIRS:
        return "lays out its weights anew in each call, which so few steps do not pay for"
    return None


def run(x: Array, directions: Sequence[Direction]) -> list[Results]:
    """One layer, in one direction or both."""
    lengths = mask_lengths(directions[0].steps.mask, *x.shape[:2])
    params, states = (tuple(getattr(d, name) for d in directions) for name in ("params", "state"))
    static = _Static(library.choose().instruction_set, tuple(direction.loop for direction in directions))
    y, last = KERNEL(static, (x, params, states), lengths)
    return list(zip(jnp.split(y, len(directions), axis=-1), last, strict=True))


def _plain(static: _Static, arguments: Arguments, lengths: Array) -> Outputs:
    x, params, states = arguments
    outputs, (last,) = fused_layers(static.loops, x, [params], [states], lengths)
    return jnp.concatenate(outputs, axis=-1), tuple(last)


def _call(static: _Static, function: str, results: Any, arguments: Arguments, lengths: Array, more: Any = ()) -> Any:
    """One of the library's functions, of arrays in the order of their trees' leaves; `results` says their shapes."""
    x, params, _ = arguments
    hidden = params[0].w_h.shape[-1]
    attributes = {
        "cell": list(CELLS).index(static.cell),
        "narrow": int(params[0].w_h.dtype == jnp.bfloat16),
        "hidden": hidden,
        "directions": len(static.loops),
        "backwards": sum(loop.reverse << k for k, loop in enumerate(static.loops)),
        "saved_stride": _saved_stride(static.cell, x.shape[0], hidden),
    }
    operands = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves((arguments, more))]
    shapes, tree = jax.tree.flatten(results)
    call = jax.ffi.ffi_call(library.target(static.instruction_set, function), shapes)
    return jax.tree.unflatten(tree, call(lengths, *operands, **attributes))


def _saved_stride(cell: Cell, time: int, hidden: int) -> int:
    """Floats that are saved of a row.

    The rest beyond the steps keeps rows apart in the caches, which a power of two would not.
    """
    of_step = CELLS[cell] * -(-hidden // MOST_LANES) * MOST_LANES
    return time * of_step + 4 * MOST_LANES if of_step else 0


def _float32(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: ShapeDtypeStruct(leaf.shape, jnp.float32), tree)


def _by_library(static: _Static, arguments: Arguments, lengths: Array, *, save: bool) -> tuple[Outputs, Any]:
    x, params, states = arguments
    time, batch, _ = x.shape
    hidden, directions = params[0].w_h.shape[-1], len(static.loops)
    y = ShapeDtypeStruct((time, batch, directions * hidden), jnp.float32)
    saved = ShapeDtypeStruct((directions, batch, _saved_stride(static.cell, time, hidden)), jnp.float32)
    outputs = y, _float32(states)
    if save:
        return _call(static, "save", (outputs, saved), arguments, lengths)
    return _call(static, "forward", outputs, arguments, lengths), None


def _forward(static: _Static, arguments: Arguments, lengths: Array) -> Outputs:
    return _by_library(static, arguments, lengths, save=False)[0]


def _pull(
    static: _Static, arguments: Arguments, lengths: Array, results: Outputs, saved: Array, cotangents: Outputs
) -> Arguments:
    found = _call(static, "pull", _float32(arguments), arguments, lengths, (results, saved, cotangents))
    return jax.tree.map(lambda d, like: d.astype(like.dtype), found, arguments)


KERNEL = Kernel("cpu", _plain, _forward, partial(_by_library, save=True), _pull, row_axes=((1, None, 0), (1, 0)))
