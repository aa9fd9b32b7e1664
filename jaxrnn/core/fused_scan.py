"""The fast scan: everything that need not be in the loop is outside it, in both passes.

Forward. The input projection u = x W_x + b is one matrix product for all steps; the loop's body is the recurrent
product and the pointwise function f. It saves, of each step, the pre-activations p_t and the state it came from.

Backward. With s_t = f(p_t, s_{t-1}, θ), p_t = u_t + Σ_k a_k W_k, a_k = operand_k(p_t, s_{t-1}), and the cotangent
ds_t that arrives from the right plus that of the output at t, a reverse step is

    dp_t, ds_{t-1}, dθ_t  =  ds_t · ∂f               (the pointwise function's own VJP)
    da_k                  =  dp_t W_kᵀ               (last product first)
    dp_t, ds_{t-1}        +=  da_k · ∂operand_k

and it emits dp_t alone. After the loop, each weight gradient is one product over all steps: dW_k = Σ_t a_kᵀ dp_t.
Autodiff of the plain scan instead carries dW through the loop, a second product a step, and saves sixteen arrays for
an LSTM where this saves six (in units of [time, batch, hidden]).

Under the mask a held step passes its cotangent through and gets none itself: du, and with it every gradient of the
padding, is exactly zero. f is evaluated again in the reverse step rather than its activations saved, and its
derivative is JAX's rather than one by hand: what that costs is in docs/design/001-fused-scan.md.
"""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.cells import Cell, Params, Product, State, accumulator, preactivations, project
from jaxrnn.core.masking import hold, zero_padding


def fused_scan(
    cell: Cell, x: Array, params: Params, state: State, mask: Array | None, reverse: bool
) -> tuple[Array, State]:
    """Unrolls the cell over x `[time, batch, features]`: outputs `[time, batch, hidden]` and the last state."""
    w_x, w_h, b, *extra = params
    u = project(zero_padding(mask, x), w_x, b)
    h, state = cast(tuple[Array, State], _recurrence(cell, reverse, u, w_h, extra, state, mask))
    return zero_padding(mask, h), state


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recurrence(
    cell: Cell, reverse: bool, u: Array, w_h: Array, extra: Params, state: State, mask: Array | None
) -> tuple[Array, State]:
    def body(state: State, inputs: tuple[Array, Array | None]) -> tuple[State, Array]:
        u_t, mask_t = inputs
        new = cell.pointwise(preactivations(cell, u_t, state, w_h), state, extra)
        new = hold(mask_t, new, state)
        return new, new.h

    state, h = jax.lax.scan(body, state, (u, mask), reverse=reverse)
    return h, state


def _forward(
    cell: Cell, reverse: bool, u: Array, w_h: Array, extra: Params, state: State, mask: Array | None
) -> tuple[tuple[Array, State], tuple]:
    def body(state: State, inputs: tuple[Array, Array | None]) -> tuple[State, tuple]:
        u_t, mask_t = inputs
        pre = preactivations(cell, u_t, state, w_h)
        new = hold(mask_t, cell.pointwise(pre, state, extra), state)
        return new, (new.h, pre, state)

    state, (h, pre, previous) = jax.lax.scan(body, state, (u, mask), reverse=reverse)
    return (h, state), (pre, previous, w_h, extra, mask)


def _backward(cell: Cell, reverse: bool, residuals: tuple, cotangents: tuple[Array, State]) -> tuple:
    pre, previous, w_h, extra, mask = residuals
    d_h, d_last = cotangents
    transposed = [w_h[:, product.gates].reshape(w_h.shape[0], -1).T for product in cell.products]

    def body(carry: tuple[State, Params], inputs: tuple) -> tuple[tuple[State, Params], Array]:
        d_state, d_extra = carry
        d_h_t, pre_t, previous_t, mask_t = inputs
        d_state = d_state._replace(h=d_state.h + d_h_t)
        zeros = jax.tree.map(jnp.zeros_like, d_state)
        _, vjp = jax.vjp(cell.pointwise, pre_t, previous_t, extra)
        d_pre, d_previous, d_extra_t = vjp(hold(mask_t, d_state, zeros))
        for product, w_t in zip(reversed(cell.products), reversed(transposed), strict=True):
            d_v = d_pre if len(product.slots) == cell.num_slots else d_pre[:, product.slots, :]
            d_v = d_v.reshape(d_v.shape[0], -1).astype(w_t.dtype)
            d_operand = jnp.dot(d_v, w_t, preferred_element_type=accumulator(w_t.dtype))
            _, vjp = jax.vjp(product.operand, pre_t, previous_t)
            d_pre, d_previous = jax.tree.map(jnp.add, (d_pre, d_previous), vjp(d_operand))
        held = zeros if mask_t is None else hold(mask_t, zeros, d_state)
        d_previous = jax.tree.map(jnp.add, d_previous, held)
        d_extra = jax.tree.map(lambda total, term: total + term.astype(total.dtype), d_extra, d_extra_t)
        return (d_previous, d_extra), d_pre

    carry = d_last, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, accumulator(leaf.dtype)), extra)
    (d_state, d_extra), d_pre = jax.lax.scan(body, carry, (d_h, pre, previous, mask), reverse=not reverse)

    d_extra = jax.tree.map(lambda total, leaf: total.astype(leaf.dtype), d_extra, extra)
    d_w_h = [_weight_gradient(cell, product, d_pre, pre, previous, w_h) for product in cell.products]
    d_u = d_pre if cell.num_gates == cell.num_slots else d_pre[:, :, : cell.num_gates]
    return d_u, jnp.concatenate(d_w_h, axis=1) if len(d_w_h) > 1 else d_w_h[0], d_extra, d_state, None


def _weight_gradient(cell: Cell, product: Product, d_pre: Array, pre: Array, previous: State, w_h: Array) -> Array:
    """Σ_t a_tᵀ dp_t as one matrix product over time and batch together."""
    d_v = d_pre if len(product.slots) == cell.num_slots else d_pre[:, :, product.slots, :]
    operand = product.operand(pre, previous)
    d_w = jnp.einsum(
        "tbk,tbgh->kgh",
        operand.astype(w_h.dtype),
        d_v.astype(w_h.dtype),
        preferred_element_type=accumulator(w_h.dtype),
    )
    return d_w.astype(w_h.dtype)


_recurrence.defvjp(_forward, _backward)
