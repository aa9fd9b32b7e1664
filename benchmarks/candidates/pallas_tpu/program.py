"""A TPU kernel in Pallas: the recurrent weights of both directions stay in VMEM for the whole sequence.

A scan reads its weights from HBM again at every step. Here one program runs over blocks of time; what has a constant
index stays where it is: weights, and the states in scratch memory. In each step both directions take their products,
which do not wait for each other, the one at step t and the other at T-1-t.

The kernel knows no cell. It traces the cell's own step, products and pointwise function, with one change of layout: the
slots of the pre-activations come first, `[slots, batch, hidden]`, as the last two axes are what a TPU's registers hold.

The backward pass is that of the fused scan, from the pre-activations and states that the kernel then writes out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxrnn.core.cells import Cell
from jaxrnn.core.parameters import State


class Sizes(NamedTuple):
    """How a call is cut into programs."""

    time: int  # steps of a block
    batch: int  # rows of a block
    num_bytes: int  # of VMEM, with every block twice, as the next is fetched meanwhile


VMEM_BYTES = 64 * 2**20  # of 128 MiB from v5e on: as much again is left to the compiler
STACK_BYTES = 32 * 2**20
LANES = 128


def choose_sizes(
    cell: Cell, *, time: int, batch: int, hidden: int, directions: int, weight_bytes: int, save: bool
) -> Sizes | None:
    """The largest blocks that fit; None if not even one step does."""
    weights = directions * hidden * cell.num_gates * hidden * weight_bytes
    num_states = len(cell.state_type._fields)
    per_step = cell.num_gates + 1 + (cell.num_slots + num_states - 1 if save else 0)  # u, y, what is saved
    rows = [batch] if batch <= LANES else []
    rows += [n for n in (128, 64, 32, 16, 8) if n < batch and batch % n == 0]
    for block in rows:
        for steps in (16, 8, 4, 2, 1):
            arrays = 2 * steps * per_step + 3 * num_states  # float32, [block, hidden]
            num_bytes = 2 * weights + directions * arrays * 4 * block * hidden
            if num_bytes <= VMEM_BYTES and steps <= max(1, time):
                return Sizes(steps, block, num_bytes)
    return None


class Arrays(NamedTuple):
    """The arrays of one direction: u `[time, batch, gates * hidden]`, and the cell's weights and state."""

    u: Array
    w_h: Array  # [hidden, gates * hidden]
    b: Array  # [1, gates * hidden]
    rest: Any  # the weights that the pointwise function reads beside b
    state: State  # [batch, hidden] each


def unroll(
    cell: Cell, reverse: tuple[bool, ...], directions: tuple[Arrays, ...], lengths: Array, *, save: bool = False
) -> list[tuple[Array, State, tuple[Array, ...]]]:
    """Runs all directions over the same rows.

    Args:
      cell: the equations, of any cell without an output projection.
      reverse: of each direction, whether it runs from the end.
      directions: their arrays.
      lengths: valid steps, integers `[batch]`.
      save: also give the pre-activations and states of all steps.

    Returns:
      For each direction every step's h `[time, batch, hidden]`, held past the lengths, and the last state; and with
      `save` the pre-activations `[time, batch, num_slots * hidden]` and the parts of the state after h, of each step.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    time, batch, _ = directions[0].u.shape
    hidden = directions[0].w_h.shape[-1] // cell.num_gates
    itemsize = directions[0].w_h.dtype.itemsize
    sizes = choose_sizes(
        cell, time=time, batch=batch, hidden=hidden, directions=len(directions), weight_bytes=itemsize, save=save
    )
    assert sizes is not None, "why_not was not asked"
    num_blocks = -(-time // sizes.time)
    padding = num_blocks * sizes.time - time  # steps that no row has
    directions = tuple(d._replace(u=jnp.pad(d.u, [(0, padding), (0, 0), (0, 0)])) for d in directions)
    step, constants = _traced_step(cell, directions[0], sizes.batch)

    def whole(a: Array) -> Any:
        return pl.BlockSpec(a.shape, lambda i, t: (0,) * a.ndim)

    def rows(width: int) -> Any:
        return pl.BlockSpec((sizes.batch, width), lambda i, t: (i, 0))

    def steps(width: int, backwards: bool) -> Any:
        return pl.BlockSpec(
            (sizes.time, sizes.batch, width), lambda i, t: (num_blocks - 1 - t if backwards else t, i, 0)
        )

    def each(backwards: bool, d: Arrays) -> Arrays:
        rest = jax.tree.map(whole, d.rest)
        state = jax.tree.map(lambda a: rows(a.shape[-1]), d.state)
        return Arrays(steps(d.u.shape[-1], backwards), whole(d.w_h), whole(d.b), rest, state)

    num_others = len(cell.state_type._fields) - 1
    padded = num_blocks * sizes.time

    def results(backwards: bool, d: Arrays) -> tuple[Any, Any]:
        widths = [hidden, *([cell.num_slots * hidden] + [hidden] * num_others if save else [])]
        shapes = [jax.ShapeDtypeStruct((padded, batch, width), d.u.dtype) for width in widths]
        last = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), d.state)
        specs = [steps(width, backwards) for width in widths]
        return (shapes, last), (specs, jax.tree.map(lambda a: rows(a.shape[-1]), d.state))

    both = [results(backwards, d) for backwards, d in zip(reverse, directions, strict=True)]
    inputs = lengths[:, None].astype(jnp.int32), constants, directions
    in_specs = (
        rows(1),
        jax.tree.map(whole, constants),
        tuple(each(backwards, d) for backwards, d in zip(reverse, directions, strict=True)),
    )
    scratch = [[pltpu.VMEM((sizes.batch, part.shape[-1]), part.dtype) for part in d.state] for d in directions]
    (outputs,) = pl.pallas_call(
        partial(_kernel, step, reverse, num_blocks, save),
        grid=(batch // sizes.batch, num_blocks),
        in_specs=in_specs,
        out_shape=([shapes for shapes, _ in both],),
        out_specs=([specs for _, specs in both],),
        scratch_shapes=(scratch,),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=sizes.num_bytes + STACK_BYTES
        ),
        name=f"jaxrnn_{cell.name}",
    )(*inputs)
    return [(y[:time], last, tuple(part[:time] for part in saved)) for (y, *saved), last in outputs]


def _kernel(
    step: Callable, reverse: tuple[bool, ...], num_blocks: int, save: bool, lengths: Any, constants: Any,
    directions: Any, outputs: Any, scratch: Any,
) -> None:  # fmt: skip
    from jax.experimental import pallas as pl

    block = pl.program_id(1)
    num_steps = directions[0].u.shape[0]

    @pl.when(block == 0)
    def _() -> None:
        for d, state in zip(directions, scratch, strict=True):
            for ref, initial in zip(state, d.state, strict=True):
                ref[...] = initial[...]

    def body(k: Array, _: None) -> None:
        for backwards, d, (steps, _last), state in zip(reverse, directions, outputs, scratch, strict=True):
            # Read here, where the product takes them in: what is read before the loop is copied to the stack.
            weights, known = jax.tree.map(lambda ref: ref[...], ((d.w_h, d.b, d.rest), constants))
            at = num_steps - 1 - k if backwards else k
            t = (num_blocks - 1 - block if backwards else block) * num_steps + at
            entered = type(d.state)(*(ref[...] for ref in state))
            pre, new = step(known, d.u[at], weights, entered)
            held = [jnp.where(t < lengths[...], a, b) for a, b in zip(new, entered, strict=True)]
            for ref, part in zip(state, held, strict=True):
                ref[...] = part
            steps[0][at] = held[0]
            if save:
                steps[1][at] = pre
                for ref, part in zip(steps[2:], held[1:], strict=True):
                    ref[at] = part

    jax.lax.fori_loop(0, num_steps, body, None)

    @pl.when(block == num_blocks - 1)
    def _() -> None:
        for (_steps, last), state in zip(outputs, scratch, strict=True):
            for out, ref in zip(last, state, strict=True):
                out[...] = ref[...]


def _traced_step(cell: Cell, like: Arrays, batch: int) -> tuple[Callable, list[Array]]:
    """The cell's step in a kernel's layout, and the constants in it, which a kernel must be given as arguments."""

    def step(u: Array, weights: tuple, state: State) -> tuple[Array, State]:
        w_h, b, rest = weights
        hidden = w_h.shape[-1] // cell.num_gates
        pre = [*jnp.split(u + b, cell.num_gates, axis=-1)]
        pre += [jnp.zeros_like(pre[0])] * (cell.num_slots - cell.num_gates)
        for operand, gates, slots in cell.products:
            a = jax.vmap(operand, in_axes=(1, 0))(jnp.stack(pre), state)
            first, last, _ = gates.indices(cell.num_gates)
            w = w_h[:, first * hidden : last * hidden]
            v = jnp.dot(a.astype(w.dtype), w, preferred_element_type=u.dtype)
            for slot, part in zip(slots, jnp.split(v, len(slots), axis=-1), strict=True):
                pre[slot] = pre[slot] + part
        new = jax.vmap(lambda pre, state: cell.pointwise(pre, state, rest), in_axes=(1, 0))(jnp.stack(pre), state)
        return jnp.concatenate(pre, axis=-1), new

    def block(a: Array) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, a.shape[-1]), a.dtype)

    avals = block(like.u), (like.w_h, like.b, like.rest), jax.tree.map(block, like.state)
    closed, shapes = jax.make_jaxpr(step, return_shape=True)(*avals)
    tree = jax.tree.structure(shapes)

    def run(constants: list[Array], *args: Any) -> tuple[Array, State]:
        function = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, constants))
        return jax.tree.unflatten(tree, function(*jax.tree.leaves(args)))

    return run, [jnp.asarray(c) for c in closed.consts]
