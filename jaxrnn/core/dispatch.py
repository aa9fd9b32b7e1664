"""The public functions: checks, the choice of a backend, and the call. Time-major, arrays in and arrays out."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxrnn.core.cells import (
    LSTM,
    Cell,
    ElmanParams,
    ElmanState,
    GRUParams,
    GRUState,
    LSTMParams,
    LSTMState,
    Params,
    State,
    accumulator,
    elman_cell,
    gru_cell,
)
from jaxrnn.core.fused_scan import fused_scan
from jaxrnn.core.masking import length_mask
from jaxrnn.core.reference import reference_scan
from jaxrnn.typing import AnyArray, Inputs, Lengths, Outputs

BackendName = Literal["reference", "fused_scan"]


class Backend(NamedTuple):
    """A way to unroll a cell, and what it is for."""

    run: Callable[[Cell, Array, Params, State, Array | None, bool], tuple[Array, State]]
    description: str


# In the order of preference of `backend=None`.
BACKENDS: dict[str, Backend] = {
    "fused_scan": Backend(
        fused_scan, "projection and weight gradients outside the loop, custom reverse pass; no forward mode (jvp)"
    ),
    "reference": Backend(reference_scan, "plain lax.scan with autodiff; serves every transformation"),
}


class Resolution(NamedTuple):
    """The backend that serves a call, and why."""

    name: str
    reason: str


def resolve_backend(backend: BackendName | None = None) -> Resolution:
    """Which backend serves a call with this `backend` argument, and why.

    Args:
      backend: a name, taken as it is; None chooses `fused_scan`, the fastest to train with. It has
        a custom reverse pass, which forward-mode differentiation cannot enter: ask for `reference` there.

    Raises:
      ValueError: there is no backend of that name.

    Example:
      >>> resolve_backend().name
      'fused_scan'
    """
    if backend is None:
        name = next(iter(BACKENDS))
        return Resolution(name, f"chosen: {BACKENDS[name].description}")
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected None or one of {', '.join(sorted(BACKENDS))}, got {backend!r}")
    return Resolution(backend, f"asked for: {BACKENDS[backend].description}")


def lstm(
    x: Inputs,
    params: LSTMParams,
    *,
    lengths: Lengths | None = None,
    state: LSTMState | None = None,
    reverse: bool = False,
    backend: BackendName | None = None,
) -> tuple[Outputs, LSTMState]:
    """Unrolls an LSTM: i, f, o = σ(·), g = tanh(·), c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t).

    One bias for each gate (PyTorch has two, which add up); gate order i f g o.

    Args:
      x: inputs, `[time, batch, features]`. Products are taken in the dtype of the weights.
      params: weights with an explicit gate axis, see `LSTMParams`.
      lengths: valid steps of each row, integers `[batch]`, 0 ≤ n ≤ time; None means all. Outputs past the
        length are zero, the state stops there, and what the padding holds, even NaN, changes nothing.
      state: the state to start from, each part `[batch, hidden]`; None means zeros.
      reverse: run from each row's last valid step to its first.
      backend: see `resolve_backend`.

    Returns:
      Outputs `[time, batch, hidden]` in the dtype of x, and the state after each row's last step (with `reverse`,
      its first), in float32 or wider.

    Raises:
      ValueError: shapes or dtypes disagree, lengths are out of range, or there is no such backend.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = LSTMParams(jnp.ones((3, 4, 2)), jnp.ones((2, 4, 2)), jnp.zeros((4, 2)))
      >>> y, state = lstm(jnp.ones((5, 1, 3)), params, lengths=jnp.array([2]))
      >>> bool((y[1, 0] == state.h[0]).all()), float(y[2:].sum())
      (True, 0.0)

    References:
      Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; the forget gate of Gers et al. 2000,
      doi:10.1162/089976600300015015.
    """
    _check_type(params, LSTMParams)
    return unroll(LSTM, x, params, lengths=lengths, state=state, reverse=reverse, backend=backend)


def gru(
    x: Inputs,
    params: GRUParams,
    *,
    reset_after: bool = True,
    lengths: Lengths | None = None,
    state: GRUState | None = None,
    reverse: bool = False,
    backend: BackendName | None = None,
) -> tuple[Outputs, GRUState]:
    """Unrolls a GRU: r, z = σ(·), h_t = (1-z) ⊙ n + z ⊙ h_{t-1}, with n by one of two families.

    They are not the same function: `reset_after=True` (cuDNN, PyTorch) has n = tanh(W_xn x + b_n + r ⊙ (W_hn h +
    b_hn)), and needs its own bias b_hn; `reset_after=False` (the textbook form) has n = tanh(W_n [r ⊙ h, x] + b_n).
    Many texts blend the other way, h_t = (1-z) ⊙ h_{t-1} + z ⊙ n: the same family with z's weights and bias
    negated. Gate order r z n.

    Args:
      x: inputs, `[time, batch, features]`.
      params: weights with an explicit gate axis, see `GRUParams`; `b_hn` is None without `reset_after`.
      reset_after: which of the two families.
      lengths: as in `lstm`.
      state: as in `lstm`.
      reverse: as in `lstm`.
      backend: as in `lstm`.

    Returns:
      Outputs `[time, batch, hidden]` and the state after each row's last step.

    Raises:
      ValueError: as in `lstm`; or b_hn is missing, or given where it has no place.

    References:
      Cho et al. 2014, arXiv:1406.1078 (v1: reset after, v3: reset before).
    """
    _check_type(params, GRUParams)
    if reset_after and (params.b_hn is None or params.b_hn.shape != params.b.shape[1:]):
        got = None if params.b_hn is None else list(params.b_hn.shape)
        raise ValueError(f"params.b_hn: expected shape {list(params.b.shape[1:])} for reset_after=True, got {got}")
    if not reset_after and params.b_hn is not None:
        raise ValueError("params.b_hn: expected None for reset_after=False, which has no such bias, got an array")
    return unroll(gru_cell(reset_after), x, params, lengths=lengths, state=state, reverse=reverse, backend=backend)


def elman(
    x: Inputs,
    params: ElmanParams,
    *,
    activation: Literal["tanh", "relu"] = "tanh",
    lengths: Lengths | None = None,
    state: ElmanState | None = None,
    reverse: bool = False,
    backend: BackendName | None = None,
) -> tuple[Outputs, ElmanState]:
    """Unrolls an Elman network: h_t = φ(W_hh h_{t-1} + W_xh x_t + b), φ = tanh or ReLU.

    Args:
      x: inputs, `[time, batch, features]`.
      params: weights with a gate axis of length 1, see `ElmanParams`.
      activation: φ.
      lengths: as in `lstm`.
      state: as in `lstm`.
      reverse: as in `lstm`.
      backend: as in `lstm`.

    Returns:
      Outputs `[time, batch, hidden]` and the state after each row's last step.

    Raises:
      ValueError: as in `lstm`; or the activation is another.

    References:
      Elman 1990, doi:10.1207/s15516709cog1402_1.
    """
    cell = elman_cell(activation)
    _check_type(params, ElmanParams)
    return unroll(cell, x, params, lengths=lengths, state=state, reverse=reverse, backend=backend)


def unroll(
    cell: Cell,
    x: Inputs,
    params: Params,
    *,
    lengths: Lengths | None = None,
    state: State | None = None,
    reverse: bool = False,
    backend: BackendName | None = None,
) -> tuple[Outputs, State]:
    """Unrolls any `Cell`; `lstm`, `gru` and `elman` are this function with the cell filled in.

    Args:
      cell: the equations, one of this library's or one's own.
      x: inputs, `[time, batch, features]`.
      params: a NamedTuple that begins with w_x, w_h and b; what follows is given to the cell's pointwise function.
      lengths: as in `lstm`.
      state: as in `lstm`.
      reverse: as in `lstm`.
      backend: as in `lstm`.

    Returns:
      Outputs `[time, batch, hidden]` and the state after each row's last step.

    Raises:
      ValueError: as in `lstm`.
    """
    run = BACKENDS[resolve_backend(backend).name].run
    x = jnp.asarray(x)
    params = jax.tree.map(jnp.asarray, params)
    _check_params(cell, x, params)
    time, batch, hidden = *x.shape[:2], params.w_h.shape[0]
    mask = length_mask(checked_lengths(lengths, time, batch), time)
    state = _initial_state(cell, state, (batch, hidden), accumulator(params.w_h.dtype))
    h, state = run(cell, x, params, state, mask, reverse)
    return h.astype(x.dtype), state


def _check_type(params: Params, expected: type) -> None:
    if not isinstance(params, expected):
        raise ValueError(f"params: expected {expected.__name__}, got {type(params).__name__}")


def _check_params(cell: Cell, x: Array, params: Params) -> None:
    if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x: expected floats [time, batch, features], got {x.dtype} {list(x.shape)}")
    gates, features, hidden = cell.num_gates, x.shape[2], params.w_h.shape[0]
    expected = {"w_x": (features, gates, hidden), "w_h": (hidden, gates, hidden), "b": (gates, hidden)}
    for name, shape in expected.items():
        weights = getattr(params, name)
        if weights.shape != shape or not jnp.issubdtype(weights.dtype, jnp.floating):
            got = f"{weights.dtype} {list(weights.shape)}"
            raise ValueError(f"params.{name}: expected floats {list(shape)} for {cell.name}, got {got}")


def checked_lengths(lengths: Lengths | None, time: int, batch: int) -> AnyArray | None:
    """The lengths as an array, or None; ValueError unless they are integers `[batch]` from 0 to `time`."""
    if lengths is None:
        return None
    lengths = lengths if isinstance(lengths, Array) else np.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer) or lengths.shape != (batch,):
        raise ValueError(f"lengths: expected integers [{batch}], got {lengths.dtype} {list(lengths.shape)}")
    if not isinstance(lengths, Tracer):  # inside jit the values are not known, and are the caller's promise
        values = np.asarray(lengths)
        if batch and not (values.min() >= 0 and values.max() <= time):
            raise ValueError(
                f"lengths: expected 0 to {time}, the number of steps, got {values.min()} to {values.max()}"
            )
    return lengths


def _initial_state(cell: Cell, state: State | None, shape: tuple[int, int], dtype: jnp.dtype) -> State:
    fields = cell.state_type._fields
    if state is None:
        return cell.state_type(*(jnp.zeros(shape, dtype) for _ in fields))
    if not isinstance(state, cell.state_type):
        raise ValueError(f"state: expected {cell.state_type.__name__}, got {type(state).__name__}")
    for name, part in zip(fields, state, strict=True):
        if np.shape(part) != shape:
            raise ValueError(f"state.{name}: expected shape {list(shape)}, got {list(np.shape(part))}")
    return jax.tree.map(lambda part: jnp.asarray(part, dtype), state)
