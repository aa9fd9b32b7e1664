"""The fused scan over the rows that have not ended: for a CPU, and batches whose lengths differ much.

Rows are sorted, longest first, and time is cut into blocks. A block is the fused scan over its first rows, as many as
have a step in it; so is its derivative, and with both go the products for all its steps: projection, gradients of
weights and inputs. XLA's shapes are fixed, so there is one program for each of a few numbers of rows, and `lax.switch`
takes the smallest that serves. It is a kernel beside the fused scan (`jaxrnn.core.kernel`) because JAX would
differentiate the switch by handing on what each of its programs keeps.

No mathematics is here: a block is `run`, its derivative the transpose of `tangent`. The price is compiling each of them
for every number of rows. What it gains: docs/design/003-cpu.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.call import VARIANTS, Call, platform_of
from jaxrnn.core.control import Fixed, Loop, Steps, length_mask, zero_padding
from jaxrnn.core.fused_scan import Results, fused_scan, run, tangent
from jaxrnn.core.kernel import Kernel
from jaxrnn.core.linear import accumulator
from jaxrnn.core.parameters import Params, State

BLOCK = 16  # steps; half of one is computed in vain for each row, and 32 were no faster
NUM_SIZES = 8  # numbers of rows that there is a program for: with 4, a tenth slower and a third less to compile
ROWS = 8  # that a product handles together: numbers of rows are multiples
ALLOWED = ("all_states", *(f"params.{name}" for name in VARIANTS))

Arguments = tuple[Array, Params, State]


def why_not_here() -> str | None:
    """Why this machine has no use for it; None: it has."""
    platform = platform_of(None)
    return None if platform == "cpu" else f"is for a CPU, and JAX runs on {platform}"


def why_not(call: Call) -> str | None:
    """Why it cannot serve a call; None: it can."""
    unknown = [name for name in call.options if name not in ALLOWED]
    for refused, reason in (
        (call.platform != "cpu", f"is for a CPU, and this call runs on {call.platform}"),
        (unknown, f"knows no {', '.join(unknown)}"),
        (call.divided, "runs on one device"),
        (call.time == 0 or call.batch == 0, "needs at least one step and one row"),
    ):
        if refused:
            return reason
    return None


def trimmed_scan(loop: Loop, x: Array, params: Params, state: State, fixed: Fixed, steps: Steps) -> Results:
    """Unrolls the cell over x `[time, batch, features]`, as the fused scan does; the mask is that of lengths."""
    if steps.mask is None:  # no row ends
        return fused_scan(loop, x, params, state, fixed, steps)
    return KERNEL(loop, (x, params, state), steps.mask.sum(0, dtype=jnp.int32))


class _Blocks:
    """The rows of a batch, longest first, and its time in blocks."""

    def __init__(self, lengths: Array, time: int):
        batch = lengths.shape[0]
        self.time = time
        self.order = jnp.argsort(-lengths)
        self.starts = jnp.arange(0, time, BLOCK)
        rows = ROWS * -(-batch // (ROWS * NUM_SIZES))
        self.sizes = [*range(0, batch, rows), batch]
        num_alive = (lengths > self.starts[:, None]).sum(1)
        self.size = -(-num_alive // rows)  # of each block, which of the sizes
        self.mask = self.split(length_mask(lengths[self.order], time))

    def split(self, tree: Any) -> Any:
        """Arrays `[time, ...]` as `[blocks, BLOCK, ...]`, the last filled with zeros."""
        padding = len(self.starts) * BLOCK - self.time
        return jax.tree.map(
            lambda a: jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1)).reshape(-1, BLOCK, *a.shape[1:]), tree
        )

    def join(self, tree: Any) -> Any:
        """The way back from `split`."""
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: self.time], tree)

    def sort(self, tree: Any, axis: int) -> Any:
        """Arrays with their rows, along this axis, longest first."""
        return jax.tree.map(lambda a: a.take(self.order, axis), tree)

    def unsort(self, tree: Any, axis: int) -> Any:
        """The way back from `sort`."""
        return jax.tree.map(lambda a: a.take(jnp.argsort(self.order), axis), tree)

    def switch(self, size: Array, function: Callable, *operands: Any) -> Any:
        """`function(rows, *operands)` with the number of rows of this size."""
        return jax.lax.switch(size, [partial(function, rows) for rows in self.sizes], *operands)


def _first(rows: int, tree: Any, axis: int = 0) -> Any:
    return jax.tree.map(lambda a: jax.lax.slice_in_dim(a, 0, rows, axis=axis), tree)


def _with_rest(first: State, whole: State) -> State:
    """The state with its first rows replaced."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b[a.shape[0] :]]), first, whole)


def _with_zeros(tree: Any, batch: int) -> Any:
    """Arrays `[time, rows, ...]` with zeros for the other rows."""
    return jax.tree.map(lambda a: jnp.pad(a, [(0, 0), (0, batch - a.shape[1])] + [(0, 0)] * (a.ndim - 2)), tree)


def _unroll(loop: Loop, arguments: Arguments, lengths: Array, *, save: bool) -> tuple[Results, Any]:
    x, params, state = arguments
    blocks = _Blocks(lengths, x.shape[0])

    def body(state: State, block: tuple) -> tuple[State, tuple]:
        def on_rows(rows: int, state: State, x: Array, mask: Array) -> tuple[State, tuple]:
            x, mask = _first(rows, (x, mask), axis=1)
            u = loop.cell.project(zero_padding(mask, x), params)
            (y, last), saved = run(loop, u, params, _first(rows, state), Fixed(), Steps(mask), save=save)
            return _with_rest(last, state), _with_zeros((y, saved), lengths.shape[0])

        size, *inputs = block
        return blocks.switch(size, on_rows, state, *inputs)

    inputs = blocks.size, blocks.split(blocks.sort(x, 1)), blocks.mask
    last, (y, saved) = jax.lax.scan(body, blocks.sort(state, 0), inputs, reverse=loop.reverse)
    return (blocks.unsort(blocks.join(y), 1), blocks.unsort(last, 0)), saved


def _forward(loop: Loop, arguments: Arguments, lengths: Array) -> Results:
    return _unroll(loop, arguments, lengths, save=False)[0]


def _save(loop: Loop, arguments: Arguments, lengths: Array) -> tuple[Results, Any]:
    return _unroll(loop, arguments, lengths, save=True)


def _pull(
    loop: Loop, arguments: Arguments, lengths: Array, results: Results, saved: Any, cotangents: Results
) -> Arguments:
    """The fused scan's tangent, transposed, at what was saved: still sorted and in blocks."""
    x, params, _ = arguments
    d_y, d_last = cotangents
    blocks = _Blocks(lengths, x.shape[0])

    def body(carry: tuple[State, Params], block: tuple) -> tuple[tuple[State, Params], Array]:
        def on_rows(rows: int, d_state: State, x: Array, mask: Array, saved: Any, d_y: Any) -> tuple:
            x, mask, saved, d_y = _first(rows, (x, mask, saved, d_y), axis=1)

            def forwards(d_x: Array, d_params: Params, d_state: State) -> Results:
                def project(x: Array, params: Params) -> Array:
                    return loop.cell.project(zero_padding(mask, x), params)

                _, d_u = jax.jvp(project, (x, params), (d_x, d_params))
                primals, tangents = (None, params, None), (d_u, d_params, d_state)
                return tangent(loop, (*primals, Fixed(), Steps(mask)), saved, (*tangents, Fixed(), Steps()))

            d_after = _first(rows, d_state)
            d_x, d_params, d_before = jax.linear_transpose(forwards, x, params, d_after)((d_y, d_after))
            return _with_rest(d_before, d_state), d_params, _with_zeros(d_x, lengths.shape[0])

        d_state, d_params = carry
        size, *inputs = block
        d_state, more, d_x = blocks.switch(size, on_rows, d_state, *inputs)
        return (d_state, jax.tree.map(lambda a, b: a + b.astype(a.dtype), d_params, more)), d_x

    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, accumulator(a.dtype)), params)
    inputs = blocks.size, blocks.split(blocks.sort(x, 1)), blocks.mask, saved, blocks.split(blocks.sort(d_y, 1))
    (d_state, d_params), d_x = jax.lax.scan(body, (blocks.sort(d_last, 0), zeros), inputs, reverse=not loop.reverse)
    d_params = jax.tree.map(lambda a, like: a.astype(like.dtype), d_params, params)
    return blocks.unsort(blocks.join(d_x), 1), d_params, blocks.unsort(d_state, 0)


def _plain(loop: Loop, arguments: Arguments, lengths: Array) -> Results:
    return fused_scan(loop, *arguments, Fixed(), Steps(mask=length_mask(lengths, arguments[0].shape[0])))


KERNEL = Kernel("cpu", _plain, _forward, _save, _pull)
