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

from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Fixed, Loop, Steps, enter, leave, zero_padding
from jaxrnn.core.linear import matmul, matmul_transposed
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
    """What of the pre-activations' tangent depends on no tangent of a state: du + db + Σ_k a_k dW_k, for all steps."""
    d_pre = d_u + d_params.b
    for operand, gates, slots in cell.products:
        a = dropped(operand(*saved), dropout)
        d_pre = add_to_slots(cell, d_pre, slots, matmul(a, d_params.w_h[:, gates]))
    return d_pre


def tangent_of_projection(cell: Cell, saved: tuple[Array, State], params: Params, d_params: Params) -> Array | None:
    """The same of h, where it is projected: h dW_p."""
    d_w_p = output_projection(d_params)
    return None if d_w_p is None else matmul(cell.pointwise(*saved, params).h, d_w_p)


def transpose_recurrent(params: Params) -> Array:
    """w_h as `[gates, hidden, operand]`: so its product in the reverse step need not turn it round at every step."""
    return params.w_h.transpose(1, 2, 0)


def tangent_step(
    loop: Loop, weights: tuple[Params, Array], given: tuple[Fixed, Steps], saved: tuple[Array, State], tangents: tuple
) -> State:
    """One step of the tangent's loop: of the state it ends with.

    Args:
      loop: what is run.
      weights: the parameters, and their w_h by `transpose_recurrent`.
      given: what acts on the state.
      saved: the step's pre-activations, and the state it was entered with.
      tangents: of its pre-activations by `tangent_outside` and of its h by `tangent_of_projection`; of the parameters,
        for the pointwise function; of `Fixed`; and of the state it was entered with.
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
