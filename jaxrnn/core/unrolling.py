"""The public functions: checks, the choice of a backend, and the call. Time-major, arrays in and arrays out."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack, overload

import jax
import jax.numpy as jnp
from jax import Array, ShapeDtypeStruct

from jaxrnn.core import checks
from jaxrnn.core.call import Call
from jaxrnn.core.cells import Cell, elman_cell, gru_cell, lstm_cell
from jaxrnn.core.control import Direction, Fixed, Loop, Results, Steps, reversed_resets, zero_padding
from jaxrnn.core.options import Arguments, Options, SharedArguments
from jaxrnn.core.parameters import (
    ElmanParams,
    ElmanState,
    GRUParams,
    GRUState,
    Layers,
    LSTMParams,
    LSTMState,
    Params,
)
from jaxrnn.core.registry import BACKENDS, Backend, check_backend, resolve
from jaxrnn.core.scans.chunks import in_chunks
from jaxrnn.core.stacking import Connect, side_by_side, stack_layers
from jaxrnn.core.step import output_width
from jaxrnn.core.varying import varying_with
from jaxrnn.typing import Inputs, Outputs


@overload
def lstm(
    x: Inputs, params: LSTMParams, *, all_states: Literal[False] = False, **options: Unpack[Arguments]
) -> tuple[Outputs, LSTMState]: ...
@overload
def lstm(
    x: Inputs, params: LSTMParams, *, all_states: Literal[True], **options: Unpack[Arguments]
) -> tuple[LSTMState, LSTMState]: ...
def lstm(x: Inputs, params: LSTMParams, *, all_states: bool = False, **options: Unpack[Arguments]) -> tuple[Any, Any]:
    """Unrolls an LSTM: i, f, o = σ(·), g = tanh(·), c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t).

    There is one bias for each gate (PyTorch has two, which add up); the gate order is i f g o. The weights decide the
    variant: with `w_p` the output is projected (LSTMP), with `peephole` the gates see the cell state, with `norm` both
    parts of the pre-activations and the cell state are layer-normalised.

    Args:
      x: Inputs, `[time, batch, features]`. Matrix products are taken in the dtype of the weights.
      params: Weights with an explicit gate axis, see `LSTMParams`; `jaxrnn.core.init` draws them.
      all_states: Return every step's whole state in place of the outputs.
      **options: Lengths, initial state, direction and so on, see `jaxrnn.core.Options`.

    Returns:
      Outputs `[time, batch, hidden]` in the dtype of x (with `all_states`, the state of every step), and the state
      after each row's last step (with `reverse`, its first), in float32 or wider.

    Raises:
      ValueError: Shapes or dtypes disagree, lengths are out of range, there is no such backend, or it cannot serve
        the call.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = LSTMParams(jnp.ones((3, 4, 2)), jnp.ones((2, 4, 2)), jnp.zeros((4, 2)))
      >>> y, state = lstm(jnp.ones((5, 1, 3)), params, lengths=jnp.array([2]))
      >>> bool((y[1, 0] == state.h[0]).all()), float(y[2:].sum())
      (True, 0.0)

    References:
      Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; the forget gate of Gers et al. 2000,
      doi:10.1162/089976600300015015; projection: Sak et al. 2014, arXiv:1402.1128; peepholes: Gers et al. 2002,
      www.jmlr.org/papers/v3/gers02a.html; layer normalisation: Ba et al. 2016, arXiv:1607.06450.
    """
    checks.check_type(params, LSTMParams)
    return unroll(lstm_cell(layer_norm=params.norm is not None), x, params, all_states=all_states, **options)


@overload
def gru(
    x: Inputs,
    params: GRUParams,
    *,
    reset_after: bool = True,
    all_states: Literal[False] = False,
    **options: Unpack[Arguments],
) -> tuple[Outputs, GRUState]: ...
@overload
def gru(
    x: Inputs,
    params: GRUParams,
    *,
    reset_after: bool = True,
    all_states: Literal[True],
    **options: Unpack[Arguments],
) -> tuple[GRUState, GRUState]: ...
def gru(
    x: Inputs,
    params: GRUParams,
    *,
    reset_after: bool = True,
    all_states: bool = False,
    **options: Unpack[Arguments],
) -> tuple[Any, Any]:
    """Unrolls a GRU: r, z = σ(·), h_t = (1-z) ⊙ n + z ⊙ h_{t-1}, with n by one of two families.

    They are not the same function: `reset_after=True` (cuDNN, PyTorch) has n = tanh(W_xn x + b_n + r ⊙ (W_hn h +
    b_hn)), and needs its own bias b_hn; `reset_after=False` (the textbook form) has n = tanh(W_n [r ⊙ h, x] + b_n).
    Many texts blend the other way, h_t = (1-z) ⊙ h_{t-1} + z ⊙ n: the same family with z's weights and bias
    negated. The gate order is r z n. With `params.norm`, both parts of the pre-activations are layer-normalised.

    Args:
      x: Inputs, `[time, batch, features]`.
      params: Weights with an explicit gate axis, see `GRUParams`; `b_hn` is None without `reset_after`.
      reset_after: Which of the two families.
      all_states: Return every step's whole state in place of the outputs.
      **options: As in `lstm`.

    Returns:
      Outputs `[time, batch, hidden]` and the state after each row's last step, as in `lstm`.

    Raises:
      ValueError: As in `lstm`; or b_hn is missing, or given where it has no place.

    References:
      Cho et al. 2014, arXiv:1406.1078 (v1: reset after, v3: reset before).
    """
    checks.check_type(params, GRUParams)
    cell = gru_cell(reset_after, layer_norm=params.norm is not None)
    return unroll(cell, x, params, all_states=all_states, **options)


@overload
def elman(
    x: Inputs,
    params: ElmanParams,
    *,
    activation: Literal["tanh", "relu"] = "tanh",
    all_states: Literal[False] = False,
    **options: Unpack[Arguments],
) -> tuple[Outputs, ElmanState]: ...
@overload
def elman(
    x: Inputs,
    params: ElmanParams,
    *,
    activation: Literal["tanh", "relu"] = "tanh",
    all_states: Literal[True],
    **options: Unpack[Arguments],
) -> tuple[ElmanState, ElmanState]: ...
def elman(
    x: Inputs,
    params: ElmanParams,
    *,
    activation: Literal["tanh", "relu"] = "tanh",
    all_states: bool = False,
    **options: Unpack[Arguments],
) -> tuple[Any, Any]:
    """Unrolls an Elman network: h_t = φ(W_hh h_{t-1} + W_xh x_t + b), φ = tanh or ReLU.

    Args:
      x: Inputs, `[time, batch, features]`.
      params: Weights with a gate axis of length 1, see `ElmanParams`.
      activation: φ, "tanh" or "relu".
      all_states: Return every step's whole state in place of the outputs.
      **options: As in `lstm`.

    Returns:
      Outputs `[time, batch, hidden]` and the state after each row's last step, as in `lstm`.

    Raises:
      ValueError: As in `lstm`; or the activation is another.

    References:
      Elman 1990, doi:10.1207/s15516709cog1402_1.
    """
    cell = elman_cell(activation)
    checks.check_type(params, ElmanParams)
    return unroll(cell, x, params, all_states=all_states, **options)


def unroll(
    cell: Cell, x: Inputs, params: Params, *, all_states: bool = False, **options: Unpack[Arguments]
) -> tuple[Any, Any]:
    """Unrolls any `Cell`; `lstm`, `gru` and `elman` are this function with the cell filled in.

    Args:
      cell: The equations, one of this library's cells or one's own.
      x: Inputs, `[time, batch, features]`.
      params: A NamedTuple with w_x, w_h and b; all of it is given to the cell's pointwise function.
      all_states: Return every step's whole state in place of the outputs.
      **options: Lengths, initial state, direction and so on, see `jaxrnn.core.Options`.

    Returns:
      Outputs and last state, as in `lstm`.

    Raises:
      ValueError: As in `lstm`.
    """
    given = Options(all_states=all_states, **options)
    check_backend(given.backend)
    x = jnp.asarray(x)
    ((outputs, last),) = _run_layer(cell, x, [params], [given])
    return outputs, last


@overload
def unroll_layers(
    cell: Cell,
    x: Inputs,
    params: Sequence[Sequence[Params]],
    *,
    state: Layers | None = None,
    reset_state: Layers | None = None,
    recurrent_dropout: Layers | None = None,
    zoneout: Layers | None = None,
    all_states: Literal[False] = False,
    connect: Connect | None = None,
    **options: Unpack[SharedArguments],
) -> tuple[Array, Layers]: ...
@overload
def unroll_layers(
    cell: Cell,
    x: Inputs,
    params: Sequence[Sequence[Params]],
    *,
    state: Layers | None = None,
    reset_state: Layers | None = None,
    recurrent_dropout: Layers | None = None,
    zoneout: Layers | None = None,
    all_states: Literal[True],
    connect: Connect | None = None,
    **options: Unpack[SharedArguments],
) -> tuple[Array, Layers, Layers]: ...
def unroll_layers(
    cell: Cell,
    x: Inputs,
    params: Sequence[Sequence[Params]],
    *,
    state: Layers | None = None,
    reset_state: Layers | None = None,
    recurrent_dropout: Layers | None = None,
    zoneout: Layers | None = None,
    all_states: bool = False,
    connect: Connect | None = None,
    **options: Unpack[SharedArguments],
) -> tuple[Any, ...]:
    """Unrolls layers of one cell on top of each other, in one direction or both.

    Args:
      cell: The equations.
      x: Inputs, `[time, batch, features]`.
      params: For each layer, the weights of its forward direction, or of its forward and its backward direction.
      state: The states to start from, arranged as the weights are; None, for all or for one, means zeros.
      reset_state: The states that a reset leads to, arranged as the weights are.
      recurrent_dropout: As in `jaxrnn.core.Options`, for each direction of each layer.
      zoneout: As in `jaxrnn.core.Options`, for each direction of each layer.
      all_states: Return every step's states as well.
      connect: `(layer, x, outputs) -> x`: the input of the next layer, or after the last the outputs that are
        returned, from a layer's own input and a list of the outputs of its directions. None puts the directions side
        by side with nothing between the layers, and some backends then run all layers in one program.
      **options: Lengths and whatever else all layers share, see `jaxrnn.core.Options`.

    Returns:
      Outputs of the last layer, its directions side by side, `[time, batch, directions * hidden]`, zero past the
      lengths, in the dtype of x; and the last states (of a backward direction: after its first step), arranged as the
      weights are. With `all_states` also the states of every step, arranged in the same way.

    Raises:
      ValueError: As in `lstm`; or a layer has another number of directions than the first, or more than two.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn import core
      >>> def weights(features):
      ...     return core.ElmanParams(jnp.ones((features, 1, 2)), jnp.ones((2, 1, 2)), jnp.zeros((1, 2)))
      >>> layers = [(weights(3), weights(3)), (weights(4), weights(4))]
      >>> y, state = unroll_layers(core.elman_cell("tanh"), jnp.ones((5, 1, 3)), layers)
      >>> y.shape, len(state), state[0][1].h.shape
      ((5, 1, 4), 2, (1, 2))
    """
    arranged = {"state": state, "reset_state": reset_state, "recurrent_dropout": recurrent_dropout, "zoneout": zoneout}
    checks.check_layers(params, arranged)

    def options_of(layer: int, direction: int) -> Options:
        own = {name: None if tree is None else tree[layer][direction] for name, tree in arranged.items()}
        return Options(reverse=direction == 1, all_states=all_states, **own, **options)

    given = [[options_of(layer, d) for d in range(len(params[layer]))] for layer in range(len(params))]
    x = jnp.asarray(x)
    backend = given[0][0].backend
    name = resolve(Call.of(cell, x, params, [one for layer in given for one in layer]), backend).name
    if _runs_together(params, given, connect) and BACKENDS[name].run_layers is not None:
        return _run_together(name, cell, x, params, given)

    def run(layer: int, x: Array) -> tuple[list[Array], list[Results]]:
        results = _run_layer(cell, x, params[layer], given[layer])
        outputs: list[Any] = [y for y, _ in results]
        return [y.h.astype(x.dtype) for y in outputs] if all_states else outputs, results

    y, results = stack_layers(len(params), x, run, connect or side_by_side)
    last = tuple(tuple(state for _, state in layer) for layer in results)
    return (y, last, tuple(tuple(states for states, _ in layer) for layer in results)) if all_states else (y, last)


def _run_layer(cell: Cell, x: Array, params: Sequence[Params], given: Sequence[Options]) -> list[Results]:
    """One layer in all its directions: of each, outputs that are zero past the lengths, and the last state."""
    params = jax.tree.map(jnp.asarray, list(params))
    directions = [_checked(cell, x, p, options) for p, options in zip(params, given, strict=True)]
    backend = BACKENDS[resolve(Call.of(cell, x, [params], given), given[0].backend).name]
    chunk = given[0].remat_chunk
    if chunk is None or chunk >= x.shape[0]:
        results = backend.run(x, directions)
    else:
        results = [in_chunks(backend.run, chunk, x, direction) for direction in directions]
    return [_finished(backend, x, *both) for both in zip(directions, results, strict=True)]


def _finished(backend: Backend, x: Array, direction: Direction, results: Results) -> Results:
    outputs, last = results
    if not backend.ends_in_zeros:
        outputs = jax.tree.map(lambda part: zero_padding(direction.steps.mask, part), outputs)
    return outputs if direction.loop.all_states else outputs.astype(x.dtype), last


def _runs_together(
    params: Sequence[Sequence[Params]], given: Sequence[Sequence[Options]], connect: Connect | None
) -> bool:
    """Whether a backend's `run_layers` may serve: layers of one width with nothing in or between them."""
    widths = {weights.w_h.shape[-1] for layer in params for weights in layer}
    first = given[0][0]
    return connect is None and len(widths) == 1 and first.remat_chunk is None and not first.all_states


def _run_together(
    name: str, cell: Cell, x: Array, params: Sequence[Sequence[Params]], given: Sequence[Sequence[Options]]
) -> tuple[Array, Layers]:
    run = BACKENDS[name].run_layers
    assert run is not None
    layers, inputs = [], x
    for weights, options in zip(jax.tree.map(jnp.asarray, [list(p) for p in params]), given, strict=True):
        layers.append([_checked(cell, inputs, w, o) for w, o in zip(weights, options, strict=True)])
        inputs = ShapeDtypeStruct((*x.shape[:2], sum(map(output_width, weights))), x.dtype)
    outputs, last = run(x, layers)
    y = zero_padding(layers[0][0].steps.mask, jnp.concatenate(outputs, axis=-1))
    return y.astype(x.dtype), last


def _checked(cell: Cell, x: Array | ShapeDtypeStruct, params: Params, options: Options) -> Direction:
    """The direction of a layer that these arguments describe."""
    checks.check_params(cell, x, params)
    checks.check_positive("max_gradient", options.max_gradient)
    checks.check_count("remat_chunk", options.remat_chunk)
    time, batch = x.shape[:2]
    resets = checks.checked_booleans("resets", options.resets, time, batch)
    steps = Steps(
        mask=checks.checked_mask(options.lengths, options.mask, time, batch),
        resets=reversed_resets(resets) if options.reverse and resets is not None else resets,
        zoneout=checks.checked_zoneout(cell, options.zoneout, params, time, batch),
    )
    arrays = ((), params, steps) if isinstance(x, ShapeDtypeStruct) else (x, params, steps)
    state, reset_state = (
        varying_with(checks.checked_state(name, cell, getattr(options, name), params, batch), arrays)
        for name in ("state", "reset_state")
    )
    fixed = Fixed(
        initial=None if resets is None else reset_state,
        dropout=checks.checked_dropout(options.recurrent_dropout, params, batch),
    )
    return Direction(Loop(cell, options.reverse, options.max_gradient, options.all_states), params, state, fixed, steps)
