"""Layers on top of each other, in one direction or both: what some backends run in one program."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, ShapeDtypeStruct

from jaxrnn.core import checks
from jaxrnn.core.backend_table import BACKENDS, resolve
from jaxrnn.core.call import Call
from jaxrnn.core.cells import Cell
from jaxrnn.core.dispatch import unroll
from jaxrnn.core.options import BackendName
from jaxrnn.core.parameters import Layers, Params, State
from jaxrnn.core.step import output_projection
from jaxrnn.typing import Inputs, Lengths


def unroll_layers(
    cell: Cell,
    x: Inputs,
    params: Sequence[Sequence[Params]],
    *,
    lengths: Lengths | None = None,
    state: Sequence[Sequence[State | None]] | None = None,
    backend: BackendName | None = None,
) -> tuple[Array, Layers]:
    """Unrolls layers of one cell, each on the outputs of the one below, with nothing between them.

    Args:
      cell: the equations.
      x: inputs, `[time, batch, features]`.
      params: for each layer, the weights of its forward direction, or of its forward and its backward direction.
      lengths: valid steps of each row, integers `[batch]`, as in `unroll`.
      state: the states to start from, arranged as the weights are; None, for all or for one, means zeros.
      backend: see `resolve_backend`.

    Returns:
      Outputs of the last layer, its directions side by side, `[time, batch, directions * hidden]`, zero past the
      lengths, in the dtype of x; and the last states (of a backward direction: after its first step), arranged as the
      weights are.

    Raises:
      ValueError: as `unroll`; or a layer has another number of directions than the first, or more than two.

    Example:
      >>> from jaxrnn import core
      >>> def weights(features):
      ...     return core.ElmanParams(jnp.ones((features, 1, 2)), jnp.ones((2, 1, 2)), jnp.zeros((1, 2)))
      >>> layers = [(weights(3), weights(3)), (weights(4), weights(4))]
      >>> y, state = unroll_layers(core.elman_cell("tanh"), jnp.ones((5, 1, 3)), layers)
      >>> y.shape, len(state), state[0][1].h.shape
      ((5, 1, 4), 2, (1, 2))
    """
    checks.check_layers(params, state)
    x = jnp.asarray(x)
    states = [[None] * len(layer) for layer in params] if state is None else state
    options = {"lengths": lengths}
    run = BACKENDS[resolve(Call.of(cell, x, params, options), backend).name].run_layers
    if run is None:
        return _one_by_one(cell, x, params, states, lengths, backend)
    params = jax.tree.map(jnp.asarray, params)
    lengths = checks.checked_lengths(lengths, *x.shape[:2])
    inputs, checked = x, []
    for weights, initial in zip(params, states, strict=True):
        for each in weights:
            checks.check_params(cell, inputs, each)
        checked.append([_checked(cell, s, p, x.shape[1]) for p, s in zip(weights, initial, strict=True)])
        width = sum(_out_features(each) for each in weights)
        inputs = ShapeDtypeStruct((*x.shape[:2], width), x.dtype)
    y, last = run(cell, x, params, checked, None if lengths is None else jnp.asarray(lengths))
    return y.astype(x.dtype), last


def _one_by_one(
    cell: Cell, x: Array, params: Layers, states: Layers, lengths: Lengths | None, backend: BackendName | None
) -> tuple[Array, Layers]:
    every = []
    for weights, initial in zip(params, states, strict=True):
        pairs = [
            unroll(cell, x, p, lengths=lengths, state=s, reverse=direction == 1, backend=backend)
            for direction, (p, s) in enumerate(zip(weights, initial, strict=True))
        ]
        x = jnp.concatenate([y for y, _ in pairs], axis=-1)
        every.append(tuple(last for _, last in pairs))
    return x, tuple(every)


def _checked(cell: Cell, state: State | None, params: Params, batch: int) -> State:
    return checks.checked_state("state", cell, state, params, batch)


def _out_features(params: Params) -> int:
    w_p = output_projection(params)
    return params.w_h.shape[-1] if w_p is None else w_p.shape[-1]
