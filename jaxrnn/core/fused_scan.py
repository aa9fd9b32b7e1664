"""The fast scan: everything that need not be in the loop is outside it, in the forward pass and in every derivative.

Forward. The input projection u = x W_x is one matrix product for all steps; the loop's body is the recurrent products
and the pointwise function f. The bias is added there, too: by itself it would be one more pass over all of u.

Derivatives. With p_t = u_t + b + Σ_k a_k W_k, a_k = operand_k(p_t, s_{t-1}), and s_t = f(p_t, s_{t-1}, θ), the tangent
is

    dp_t  =  du_t + db + Σ_k a_k dW_k  +  Σ_k da_k W_k
    ds_t  =  ∂f · (dp_t, ds_{t-1}, dθ)

The terms db and a_k dW_k depend on no tangent of the state. The forward pass knows all a_k, so they are taken out of
the loop and become one matrix product for all steps. This one rule is the whole derivative: forward mode runs it, and
reverse mode is its transpose, which JAX takes. There, what was taken out of the loop stays out: the reverse loop emits
dp_t alone, and each weight gradient is one matrix product over all steps, dW_k = Σ_t a_kᵀ dp_t. Autodiff of the plain
scan instead carries dW through the loop, a second product a step, and saves sixteen arrays for an LSTM where this saves
seven (in units of [time, batch, hidden]). As the rule is made of plain operations, derivatives of any order and kind
exist; those of second order differentiate its loops as they stand, and carry the weights' tangents in them.

Saved are the pre-activations and the state entered with. The body of the tangent is under `jax.checkpoint`: the
derivative of f is taken again in the reverse step rather than its coefficients saved. That it is JAX's derivative, not
one by hand, costs nothing that could be measured in a training step: docs/design/001-fused-scan.md.

Under the mask a held step passes its cotangent through and gets none itself: du, and with it every gradient of the
padding, is exactly zero. The masks of dropout and zoneout are constants to every derivative.
"""

from functools import partial
from typing import cast

import jax
from jax import Array

from jaxrnn.core.control import Fixed, Loop, Steps, enter, leave, zero_padding
from jaxrnn.core.linear import matmul
from jaxrnn.core.parameters import Params, State
from jaxrnn.core.step import add_to_slots, dropped, output_projection, preactivations, project_output

Results = tuple[Array | State, State]  # every step's h or whole state, and the last state


def fused_scan(loop: Loop, x: Array, params: Params, state: State, fixed: Fixed, steps: Steps) -> Results:
    """Unrolls the cell over x `[time, batch, features]`: every step's h, or its whole state, and the last state."""
    u = loop.cell.project(zero_padding(steps.mask, x), params)
    return cast(Results, recurrence(loop, u, params, state, fixed, steps))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def recurrence(loop: Loop, u: Array, params: Params, state: State, fixed: Fixed, steps: Steps) -> Results:
    """The loop, over the projected inputs u `[time, batch, gates, hidden]`."""
    results, _ = _run(loop, u, params, state, fixed, steps, save=False)
    return results


def _run(
    loop: Loop, u: Array, params: Params, state: State, fixed: Fixed, steps: Steps, *, save: bool
) -> tuple[Results, tuple[Array, State] | None]:
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
    results, saved = _run(loop, *primals, save=True)
    return results, tangent(loop, primals, cast(tuple[Array, State], saved), tangents)


def tangent(loop: Loop, primals: tuple, saved: tuple[Array, State], tangents: tuple) -> Results:
    """The tangent of `recurrence`, linear in the tangents of its arguments.

    Saved are the pre-activations `[time, batch, num_slots, hidden]` and the states that the steps were entered with.
    """
    cell = loop.cell
    _, params, _, fixed, steps = primals
    d_u, d_params, d_state, d_fixed, _ = tangents
    pre, entered = saved

    d_u = d_u + d_params.b
    for operand, gates, slots in cell.products:
        a = dropped(operand(pre, entered), fixed.dropout)
        d_u = add_to_slots(cell, d_u, slots, matmul(a, d_params.w_h[:, gates]))
    w_p, d_h = output_projection(params), None
    if w_p is not None:
        d_h = matmul(cell.pointwise(pre, entered, params).h, d_params.w_p)

    @partial(jax.checkpoint, prevent_cse=False)  # inside a scan there is nothing to merge with
    def body(d_state: State, inputs: tuple) -> tuple[State, Array | State]:
        d_pre, d_h_t, pre_t, entered_t, at = inputs
        d_entered = enter(loop, d_fixed, at, d_state)
        for operand, gates, slots in cell.products:
            _, d_a = jax.jvp(operand, (pre_t, entered_t), (d_pre, d_entered))
            d_a = dropped(d_a, fixed.dropout)
            d_pre = add_to_slots(cell, d_pre, slots, matmul(d_a, params.w_h[:, gates]))
        _, d_new = jax.jvp(cell.pointwise, (pre_t, entered_t, params), (d_pre, d_entered, d_params))
        d_new = project_output(d_new, params)
        if d_h_t is not None:
            d_new = d_new._replace(h=d_new.h + d_h_t)
        d_state = leave(at, d_new, d_entered)
        return d_state, d_state if loop.all_states else d_state.h

    inputs = d_u, d_h, pre, entered, steps
    d_last, d_outputs = jax.lax.scan(body, d_state, inputs, reverse=loop.reverse, unroll=loop.unroll)
    return d_outputs, d_last
