"""The backend that runs recurrences by the kernels for Hopper, both directions of a layer in one launch.

What the kernels do not take is done outside them: the projections of both directions with their biases, one product;
the gradients of weights and biases, sums over all steps; a batch that is no multiple of 16 gets rows without steps.
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.candidates.hopper.launch import backward_outputs, forward_outputs, launch
from benchmarks.candidates.hopper.packing import pack_weights
from benchmarks.candidates.hopper.plan import CELLS, ROWS, Plan, Sizes, fits, operand_dtype
from jaxrnn.core import versions
from jaxrnn.core.call import Call, capability_of, platform_of
from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Direction, Fixed, Loop, Results, Steps, length_mask, mask_lengths, zero_padding
from jaxrnn.core.kernels.kernel import Kernel
from jaxrnn.core.linear import matmul
from jaxrnn.core.parameters import Params, State
from jaxrnn.core.scans.fused import recurrence

CAPABILITY = "9.0"
MULTIPLE = 64  # of hidden units: the sizes that were compiled
PRECISIONS = (None, "default", "high", "tensorfloat32")  # all of them TF32 on this GPU


def why_not_here() -> str | None:
    """The reason why this machine cannot run the kernels; None means that it can."""
    platform = platform_of(None)
    if platform != "cuda":
        return f"needs an NVIDIA GPU, and JAX runs on {platform}"
    return _wrong_gpu(capability_of(None)) or why_no_cutlass()


def why_not(call: Call) -> str | None:
    """The reason why the kernels cannot serve a call; None means that they can."""
    precision = versions.matmul_precision()
    for refused, reason in (
        (call.platform != "cuda", f"needs an NVIDIA GPU, and this call runs on {call.platform}"),
        (call.cell != CELLS.get(call.cell.name), "serves the plain LSTM and GRU alone"),
        (
            call.dtype not in ("float32", "bfloat16"),
            f"computes in bfloat16 or float32, and the weights are {call.dtype}",
        ),
        (
            call.dtype == "float32" and precision not in PRECISIONS,
            f"multiplies float32 as TF32, and the matmul precision is {precision!r}",
        ),
        (call.options, f"does not support {', '.join(call.options)}"),
        (call.divided, "runs on one device"),
        (call.hidden % MULTIPLE != 0, f"needs a multiple of {MULTIPLE} hidden units, got {call.hidden}"),
        (call.time == 0 or call.batch == 0, "needs at least one step and one row"),
    ):
        if refused:
            return reason
    if not fits(call.cell.name, call.hidden, jnp.dtype(call.dtype).itemsize):
        return f"has no room on the chip for W_h of {call.hidden} hidden units in {call.dtype}"
    return _wrong_gpu(call.capability) or why_no_cutlass()


def why_no_cutlass() -> str | None:
    """Why the kernels cannot be compiled; None means that CUTLASS is there. It is not imported."""
    return "CUTLASS is not installed: pip install 'jaxrnn[hopper]'" if find_spec("cutlass") is None else None


def _wrong_gpu(capability: str | None) -> str | None:
    return None if capability == CAPABILITY else f"needs compute capability {CAPABILITY}, and this GPU has {capability}"


def run(x: Array, directions: Sequence[Direction]) -> list[Results]:
    """One layer, in one direction or both, in one launch."""
    cell, mask = directions[0].loop.cell, directions[0].steps.mask
    lengths = mask_lengths(mask, *x.shape[:2])
    reverse = tuple(direction.loop.reverse for direction in directions)
    params, states = ([getattr(d, name) for d in directions] for name in ("params", "state"))
    y, last = _run_layer(cell, reverse, zero_padding(mask, x), params, states, lengths)
    return list(zip(jnp.split(y, len(directions), axis=-1), last, strict=True))


def _run_layer(
    cell: Cell,
    reverse: tuple[bool, ...],
    x: Array,
    params: Sequence[Params],
    states: Sequence[State],
    lengths: Array,
) -> tuple[Array, tuple[State, ...]]:
    """The directions of a layer, over x that is zero past the lengths; outputs side by side, in the dtype of x."""
    time, batch, _ = x.shape
    more = -batch % ROWS
    x, lengths = jnp.pad(x, [(0, 0), (0, more), (0, 0)]), jnp.pad(lengths, (0, more))
    weights, state = (jax.tree.map(lambda *parts: jnp.stack(parts), *each) for each in (params, states))
    state = jax.tree.map(lambda part: jnp.pad(part, [(0, 0), (0, more), (0, 0)]), state)
    u = matmul(x, weights.w_x.swapaxes(0, 1)) + weights.b  # both directions by one product, in the kernel's order
    narrow = x.dtype == weights.w_h.dtype == jnp.bfloat16
    static = _Static(cell.name, reverse, "bfloat16" if narrow else "float32")
    y, last = KERNEL(static, _Arguments(u, weights._replace(w_x=None, b=None), state), lengths)
    y = y[:, :batch].reshape(time, batch, -1).astype(x.dtype)
    return y, tuple(jax.tree.map(lambda part, run=run: part[run, :batch], last) for run in range(len(reverse)))


class _Static(NamedTuple):
    cell_name: str
    reverse: tuple[bool, ...]  # of each run: one direction, with weights and a state of its own
    output_dtype: str

    def plans(self, arguments: "_Arguments") -> tuple[Plan, Plan, Sizes]:
        """The division of the forward and the backward pass, and the arrays' sizes."""
        time, batch, _, _, hidden = arguments.u.shape
        plan = Plan(self.cell_name, hidden, arguments.params.w_h.dtype.itemsize)
        return plan, plan._replace(backward=True), Sizes(time, batch, self.reverse)


class _Arguments(NamedTuple):
    """What is differentiated."""

    u: Array  # [time, batch, runs, gates, hidden], with the bias, float32
    params: Params  # w_h [runs, hidden, gates, hidden], b_hn [runs, hidden]
    state: State  # [runs, batch, hidden] each


_Results = tuple[Array, State]  # outputs [time, batch, runs, hidden], zero past the lengths; last states


def _plain(static: _Static, arguments: _Arguments, lengths: Array) -> _Results:
    cell, mask = CELLS[static.cell_name], length_mask(lengths, arguments.u.shape[0])
    runs = []
    for run, backwards in enumerate(static.reverse):
        params, state = jax.tree.map(lambda a, run=run: a[run], arguments[1:])
        params = params._replace(b=jnp.zeros(arguments.u.shape[3:]))
        runs.append(recurrence(Loop(cell, backwards), arguments.u[:, :, run], params, state, Fixed(), Steps(mask=mask)))
    outputs = jnp.stack([zero_padding(mask, y) for y, _ in runs], axis=2)
    return outputs.astype(static.output_dtype), jax.tree.map(lambda *parts: jnp.stack(parts), *(s for _, s in runs))


def _by_kernel(static: _Static, arguments: _Arguments, lengths: Array, *, save: bool) -> tuple[_Results, dict]:
    plan, _, sizes = static.plans(arguments)
    u, params, state = arguments
    bias = getattr(params, "b_hn", None)
    inputs = {"inputs": u, "weights": pack_weights(plan, params.w_h), "lengths": lengths}
    inputs |= {} if bias is None else {"bias": bias.astype(jnp.float32)}
    inputs |= {f"state{k}": part for k, part in enumerate(state)}
    dtype = jnp.dtype(static.output_dtype)
    found = launch(plan, sizes, dtype, inputs, forward_outputs(plan, sizes, dtype, save=save))
    last = type(state)(*(found.pop(f"last{k}") for k in range(len(state))))
    return (found.pop("outputs"), last), found


def _forward(static: _Static, arguments: _Arguments, lengths: Array) -> _Results:
    return _by_kernel(static, arguments, lengths, save=False)[0]


def _pull(
    static: _Static, arguments: _Arguments, lengths: Array, results: _Results, saved: dict, cotangents: _Results
) -> _Arguments:
    _, plan, sizes = static.plans(arguments)
    (u, params, state), (d_outputs, d_last) = arguments, cotangents
    inputs = {"weights": pack_weights(plan, params.w_h), "lengths": lengths, "saved": saved["saved"]}
    inputs |= {"d_outputs": d_outputs, **{f"d_last{k}": part for k, part in enumerate(d_last)}}
    found = launch(plan, sizes, d_outputs.dtype, inputs, backward_outputs(plan, sizes))
    d_pre = found["d_pre"]
    operands = [_entered_with(static.reverse, results[0], state.h, lengths), saved.get("operands")]
    d_w_h = [
        _over_steps("tbrh,tbrgk->rhgk", operand.astype(operand_dtype(plan)), d_pre[..., list(product.slots), :])
        for operand, product in zip(operands, plan.cell.products, strict=False)
    ]
    d_params = params._replace(w_h=jnp.concatenate(d_w_h, axis=2).astype(params.w_h.dtype))
    if plan.cell.num_slots > plan.cell.num_gates:  # the recurrent part of n, whose bias is b_hn
        d_params = d_params._replace(b_hn=d_pre[..., -1, :].sum((0, 1), jnp.float32).astype(params.b_hn.dtype))
    d_state = type(state)(*(found[f"d_state{k}"] for k in range(len(state))))
    return _Arguments(d_pre[..., : plan.cell.num_gates, :].astype(u.dtype), d_params, d_state)


_over_steps = partial(jnp.einsum, preferred_element_type=jnp.float32)


def _entered_with(reverse: tuple[bool, ...], outputs: Array, h: Array, lengths: Array) -> Array:
    """The h that each step started from, `[time, batch, runs, hidden]`: the output of the step before, or the first h.

    Past the lengths it is anything: the gradient of the pre-activations is zero there.
    """
    is_last = (jnp.arange(outputs.shape[0])[:, None] == lengths - 1)[..., None]
    runs = []
    for run, backwards in enumerate(reverse):
        y, first = outputs[:, :, run], h[run, None].astype(outputs.dtype)
        before = jnp.concatenate([y[1:], first] if backwards else [first, y[:-1]])
        runs.append(jnp.where(is_last, first, before) if backwards else before)
    return jnp.stack(runs, axis=2)


KERNEL = Kernel("cuda", _plain, _forward, partial(_by_kernel, save=True), _pull)
