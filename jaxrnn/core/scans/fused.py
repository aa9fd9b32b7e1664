"""The fast scan: whatever need not be in the loop is outside it, in the forward pass and in every derivative.

Forward. The input projection u = x W_x is one matrix product for all steps; the loop's body is the recurrent products
and the pointwise function f. The bias is added there, too: by itself it would be one more pass over all of u.

Derivatives. With p_t = u_t + b + Σ_k a_k W_k, a_k = operand_k(p_t, s_{t-1}), and s_t = f(p_t, s_{t-1}, θ), the tangent
is

    dp_t  =  du_t + db + Σ_k a_k dW_k  +  Σ_k da_k W_k
    ds_t  =  ∂f · (dp_t, ds_{t-1}, dθ)

The terms db and a_k dW_k depend on no tangent of the state. The forward pass knows all a_k, so they are taken out of
the loop and become one matrix product for all steps. This one rule is the whole derivative: forward mode runs it, and
reverse mode is its transpose, which JAX takes. There, too, the products stay outside: the reverse loop emits dp_t
alone, and each weight gradient is one matrix product over all steps, dW_k = Σ_t a_kᵀ dp_t. Autodiff of the plain scan
instead carries dW through the loop, which is a second product at each step, and saves sixteen arrays of [time, batch,
hidden] for an LSTM where this saves seven. As the rule is made of plain operations, derivatives of any order and kind
exist; those of second order differentiate its loops as they stand, and carry the weights' tangents in them.

The pre-activations and the states that the steps start from are saved. The body of the tangent is under
`jax.checkpoint`, so that the reverse step takes the derivative of f again rather than reading saved coefficients. That
the derivative is JAX's and not one by hand costs nothing measurable in a training step: docs/design/001-fused-scan.md.

Under the mask a held step passes its cotangent through and gets none itself: du, and with it every gradient of the
padding, is exactly zero. The masks of dropout and zoneout are constants to every derivative.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Direction, Fixed, Loop, Results, Steps, enter, leave, length_mask, zero_padding
from jaxrnn.core.linear import matmul, matmul_transposed
from jaxrnn.core.parameters import Layers, Params, State
from jaxrnn.core.stacking import stack_layers
from jaxrnn.core.step import add_to_slots, dropped, output_projection, preactivations, project_output


def fused_scan(x: Array, direction: Direction) -> Results:
    """Unrolls one direction of a layer over x `[time, batch, features]`."""
    loop, params, state, fixed, steps = direction
    u = loop.cell.project(zero_padding(steps.mask, x), params)
    return cast(Results, recurrence(loop, u, params, state, fixed, steps))


def fused_layers(
    loops: Sequence[Loop], x: Array, params: Layers, states: Layers, lengths: Array | None
) -> tuple[list[Array | State], Layers]:
    """Layers on top of each other with nothing between them: what a kernel for layers has as its plain operations.

    Args:
      loops: What each direction runs.
      x: Inputs `[time, batch, features]`.
      params: Weights of each direction of each layer.
      states: The states to start from, arranged in the same way.
      lengths: Valid steps of each row, `[batch]`; None means all.

    Returns:
      Outputs of each direction of the last layer, zero past the lengths, and all last states.
    """
    steps = Steps(mask=length_mask(lengths, x.shape[0]))

    def run(layer: int, x: Array) -> tuple[list[Array], tuple[list[Array | State], tuple]]:
        given = zip(loops, params[layer], states[layer], strict=True)
        results = [fused_scan(x, Direction(*direction, steps=steps)) for direction in given]
        outputs = [jax.tree.map(partial(zero_padding, steps.mask), y) for y, _ in results]
        last = tuple(state for _, state in results)
        return [y.h if loop.all_states else y for loop, y in zip(loops, outputs, strict=True)], (outputs, last)

    def connect(layer: int, x: Array, outputs: Sequence[Array]) -> Array:
        return jnp.concatenate(outputs, axis=-1).astype(x.dtype)

    _, results = stack_layers(len(params), x, run, connect)
    return results[-1][0], tuple(last for _, last in results)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def recurrence(loop: Loop, u: Array, params: Params, state: State, fixed: Fixed, steps: Steps) -> Results:
    """The loop, over the projected inputs u `[time, batch, gates, hidden]`."""
    results, _ = run(loop, u, params, state, fixed, steps, save=False)
    return results


def run(
    loop: Loop, u: Array, params: Params, state: State, fixed: Fixed, steps: Steps, *, save: bool
) -> tuple[Results, tuple[Array, State] | None]:
    """The loop, and with `save` what its tangent needs."""

    def body(state: State, inputs: tuple[Array, Steps]) -> tuple[State, tuple]:
        u_t, at = inputs
        entered = enter(loop, fixed, at, state)
        pre = preactivations(loop.cell, u_t, entered, params, fixed.dropout)
        new = project_output(loop.cell.pointwise(pre, entered, params), params)
        state = leave(at, new, entered)
        return state, (state if loop.all_states else state.h, (pre, entered) if save else None)

    last, (outputs, saved) = jax.lax.scan(body, state, (u, steps), reverse=loop.reverse, unroll=loop.unroll)
    return (outputs, last), saved


@recurrence.defjvp
def _jvp(loop: Loop, primals: tuple, tangents: tuple) -> tuple[Results, Results]:
    results, saved = run(loop, *primals, save=True)
    return results, tangent(loop, primals, cast(tuple[Array, State], saved), tangents)


def tangent(loop: Loop, primals: tuple, saved: tuple[Array, State], tangents: tuple) -> Results:
    """The tangent of `recurrence`, linear in the tangents of its arguments.

    Saved are the pre-activations `[time, batch, num_slots, hidden]` and the states that the steps were entered with.
    """
    _, params, _, fixed, steps = primals
    d_u, d_params, d_state, d_fixed, _ = tangents
    d_pre = tangent_outside(loop.cell, saved, d_u, d_params, fixed.dropout)
    d_h = tangent_of_projection(loop.cell, saved, params, d_params)
    transposed = transpose_recurrent(params)

    @partial(jax.checkpoint, prevent_cse=False)  # inside a scan there is nothing to merge with
    def body(d_state: State, inputs: tuple) -> tuple[State, Array | State]:
        d_pre, d_h, saved, at = inputs
        weights = params, transposed
        d_state = tangent_step(loop, weights, (fixed, at), saved, (d_pre, d_h, d_params, d_fixed, d_state))
        return d_state, d_state if loop.all_states else d_state.h

    inputs = d_pre, d_h, saved, steps
    d_last, d_outputs = jax.lax.scan(body, d_state, inputs, reverse=loop.reverse, unroll=loop.unroll)
    return d_outputs, d_last


def tangent_outside(
    cell: Cell, saved: tuple[Array, State], d_u: Array, d_params: Params, dropout: Array | None
) -> Array:
    """The part of the pre-activations' tangent without tangents of states, for all steps: du + db + Σ_k a_k dW_k."""
    d_pre = d_u + d_params.b
    for operand, gates, slots in cell.products:
        a = dropped(operand(*saved), dropout)
        d_pre = add_to_slots(cell, d_pre, slots, matmul(a, d_params.w_h[:, gates]))
    return d_pre


def tangent_of_projection(cell: Cell, saved: tuple[Array, State], params: Params, d_params: Params) -> Array | None:
    """The part of the tangent of a projected h that depends on no tangent of a state: h dW_p."""
    d_w_p = output_projection(d_params)
    return None if d_w_p is None else matmul(cell.pointwise(*saved, params).h, d_w_p)


def transpose_recurrent(params: Params) -> Array:
    """w_h as `[gates, hidden, operand]`, transposed once rather than at every step of the reverse loop."""
    return params.w_h.transpose(1, 2, 0)


def tangent_step(
    loop: Loop, weights: tuple[Params, Array], given: tuple[Fixed, Steps], saved: tuple[Array, State], tangents: tuple
) -> State:
    """One step of the tangent's loop: the tangent of the state that the step ends with.

    Args:
      loop: The scan's static part.
      weights: The parameters, and their w_h by `transpose_recurrent`.
      given: What acts on the state.
      saved: The step's pre-activations, and the state it was entered with.
      tangents: Those of the pre-activations by `tangent_outside`, of h by `tangent_of_projection`, of the parameters
        for the pointwise function, of `Fixed`, and of the state that the step was entered with.
    """
    cell, (params, transposed), (fixed, at) = loop.cell, weights, given
    d_pre, d_h, d_params, d_fixed, d_state = tangents
    d_entered = enter(loop, d_fixed, at, d_state)
    for operand, gates, slots in cell.products:
        _, d_a = jax.jvp(operand, saved, (d_pre, d_entered))
        d_a = dropped(d_a, fixed.dropout)
        d_pre = add_to_slots(cell, d_pre, slots, matmul_transposed(d_a, transposed[gates]))
    _, d_new = jax.jvp(cell.pointwise, (*saved, params), (d_pre, d_entered, d_params))
    d_new = project_output(d_new, params)
    if d_h is not None:
        d_new = d_new._replace(h=d_new.h + d_h)
    return leave(at, d_new, d_entered)
