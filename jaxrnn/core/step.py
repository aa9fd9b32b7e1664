"""One step of a cell: the definition that every scan must equal."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Steps, leave
from jaxrnn.core.linear import matmul
from jaxrnn.core.parameters import Params, State
from jaxrnn.typing import AnyArray


def step(
    cell: Cell,
    x: AnyArray,
    params: Params,
    state: State,
    *,
    dropout: AnyArray | None = None,
    zoneout: State | None = None,
) -> State:
    """Runs one step of a cell.

    Args:
      cell: The equations.
      x: Input, `[..., features]`.
      params: The cell's weights.
      state: The state before the step, each part `[..., hidden]`.
      dropout: Factors of h before the recurrent products, `[..., hidden]`; None means no recurrent dropout.
      zoneout: A state of booleans or shares, as in `jaxrnn.core.Options` without the time axis.

    Returns:
      The state after the step.
    """
    params, state = jax.tree.map(jnp.asarray, (params, state))
    pre = preactivations(cell, cell.project(jnp.asarray(x), params), state, params, dropout)
    new = project_output(cell.pointwise(pre, state, params), params)
    return leave(Steps(zoneout=jax.tree.map(jnp.asarray, zoneout)), new, state)


def preactivations(cell: Cell, u: Array, state: State, params: Params, dropout: AnyArray | None) -> Array:
    """Projected input u `[..., gates, hidden]` plus the recurrent products: `[..., num_slots, hidden]`."""
    pre = u + params.b
    for operand, gates, slots in cell.products:
        a = dropped(operand(pre, state), dropout)
        pre = add_to_slots(cell, pre, slots, matmul(a, params.w_h[:, gates]))
    return pre


def dropped(operand: Array, dropout: AnyArray | None) -> Array:
    """An operand of a recurrent product after recurrent dropout."""
    return operand if dropout is None else operand * dropout


def add_to_slots(cell: Cell, pre: Array, slots: tuple[int, ...], v: Array) -> Array:
    """Adds v `[..., len(slots), hidden]` to these slots of pre; slots that it does not have yet count as zero."""
    if len(slots) == cell.num_slots:
        return pre + v
    if slots == tuple(range(pre.shape[-2], cell.num_slots)):
        return jnp.concatenate([pre, v], axis=-2)
    rows = [pre[..., k, :] if k < pre.shape[-2] else jnp.zeros_like(pre[..., 0, :]) for k in range(cell.num_slots)]
    for k, slot in enumerate(slots):
        rows[slot] = rows[slot] + v[..., k, :]
    return jnp.stack(rows, axis=-2)


def project_output(state: State, params: Params) -> State:
    """The state with its h projected, where the weights say so: `[..., hidden]` to `[..., projected]`."""
    w_p = output_projection(params)
    return state if w_p is None else state._replace(h=matmul(state.h, w_p))


def output_projection(params: Params) -> Array | None:
    """w_p, `[hidden, projected]`, if these weights have one."""
    return getattr(params, "w_p", None)


def output_width(params: Params) -> int:
    """Width of h, which may be projected."""
    w_p = output_projection(params)
    return params.w_h.shape[-1] if w_p is None else w_p.shape[-1]
