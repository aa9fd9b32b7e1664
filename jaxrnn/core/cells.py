"""The gate equations: each cell, once, as data that every scan and backend shares.

Symbols: x_t input, h_t hidden state, c_t cell state, σ logistic, ⊙ elementwise. A step has three parts:

1. the input projection u_t = x_t W_x, which does not depend on the state and so is taken out of the loop;
2. the recurrent products, each `operand @ w_h[:, gates]`, added to u_t + b: together, the pre-activations;
3. the pointwise function from pre-activations and previous state to the new state.

A `Cell` names its gates and states, says what its products are, and gives the pointwise function. The scans, the
masking and the derivatives know nothing else of it. See `jaxrnn.core.parameters` for gate order and layout.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrnn.core.linear import layer_norm, matmul
from jaxrnn.core.parameters import (
    ElmanParams,
    ElmanState,
    GRUNorm,
    GRUParams,
    GRUState,
    LSTMNorm,
    LSTMParams,
    LSTMState,
    Params,
    State,
)


class Product(NamedTuple):
    """One recurrent matrix product: `operand(pre, state) @ w_h[:, gates]`, added to `slots` of the pre-activations.

    An operand reads no slot that its own or a later product adds to.
    """

    operand: Callable[[Array, State], Array]
    gates: slice
    slots: tuple[int, ...]

    def __hash__(self) -> int:
        return hash((self.operand, self.gates.start, self.gates.stop, self.slots))  # a slice has a hash from 3.12 on


def project(x: Array, params: Params) -> Array:
    """The input projection u = x W_x, `[..., features]` -> `[..., gates, hidden]`, as one matrix product."""
    return matmul(x, params.w_x)


class Cell(NamedTuple):
    """A recurrent cell as data.

    The pre-activations are an array `[..., num_slots, hidden]`: slots 0 to G-1 start as the projected input's gates,
    further ones at zero.

    Attributes:
      name: Name in messages.
      gates: Names of the gates, in the order of the weights' gate axis.
      state_type: NamedTuple of the state; h, the output, comes first.
      num_slots: Slots of the pre-activations.
      products: The recurrent matrix products, in the order in which they are taken.
      pointwise: `(pre-activations, previous state, weights) -> state`.
      project: `(x, weights) -> u`, the input projection `[..., features]` to `[..., gates, hidden]`.
      params_type: NamedTuple of the weights, for `init`; None for a cell whose weights are not drawn by it.
      norm_type: NamedTuple of the gains of layer normalisation; None for a cell without.
      has_recurrent_bias: Whether the weights have b_hn, a bias of the recurrent part of the last gate.
    """

    name: str
    gates: tuple[str, ...]
    state_type: type
    num_slots: int
    products: tuple[Product, ...]
    pointwise: Callable[[Array, State, Params], State]
    project: Callable[[Array, Params], Array] = project
    params_type: type | None = None
    norm_type: type | None = None
    has_recurrent_bias: bool = False

    @property
    def num_gates(self) -> int:
        """G, the length of the weights' gate axis."""
        return len(self.gates)


def sigmoid(x: Array) -> Array:
    """σ(x) = ½ + ½ tanh(x/2): tanh vectorises well where the division in 1/(1 + exp(-x)) does not."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _h(pre: Array, state: State) -> Array:
    return state.h


# Elman 1990, doi:10.1207/s15516709cog1402_1: h_t = φ(W_hh h_{t-1} + W_xh x_t + b).
def _elman(activation: Callable[[Array], Array]) -> Cell:
    def pointwise(pre: Array, state: ElmanState, params: Params) -> ElmanState:
        return ElmanState(h=activation(pre[..., 0, :]))

    product = Product(_h, slice(0, 1), (0,))
    return Cell("elman", ("h",), ElmanState, 1, (product,), pointwise, params_type=ElmanParams)


ELMAN_TANH = _elman(jnp.tanh)
ELMAN_RELU = _elman(jax.nn.relu)


# Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with the forget gate of Gers et al. 2000:
# i, f, o = σ(W[h_{t-1}, x_t] + b), g = tanh(W_c[h_{t-1}, x_t] + b_c),
# c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t).
# i, f and o go through σ, g through tanh. Both are a·tanh(a·x) + (1-a), with a = ½ for σ and 1 for tanh, so one
# tanh over the whole block serves all four gates.
_LSTM_SCALE = np.array([[0.5], [0.5], [1.0], [0.5]])


def _lstm_gates(pre: Array) -> list[Array]:
    a = jnp.asarray(_LSTM_SCALE, pre.dtype)
    gates = a * jnp.tanh(a * pre) + (1 - a)
    return [gate.squeeze(-2) for gate in jax.lax.split(gates, (1,) * 4, axis=gates.ndim - 2)]


def _lstm(pre: Array, state: LSTMState, params: LSTMParams) -> LSTMState:
    if params.peephole is not None:
        return _lstm_peephole(pre, state, params)
    i, f, g, o = _lstm_gates(pre)
    c = f * state.c + i * g
    return LSTMState(h=o * jnp.tanh(_cell_output(c, params)), c=c)


# Gers et al. 2002, www.jmlr.org/papers/v3/gers02a.html: i and f see c_{t-1}, o sees c_t, each through a diagonal.
def _lstm_peephole(pre: Array, state: LSTMState, params: LSTMParams) -> LSTMState:
    p_i, p_f, p_o = jnp.asarray(params.peephole, pre.dtype)
    seen = jnp.stack([p_i * state.c, p_f * state.c], axis=-2)
    i, f, g, _ = _lstm_gates(pre.at[..., :2, :].add(seen))
    c = f * state.c + i * g
    return LSTMState(h=sigmoid(pre[..., 3, :] + p_o * c) * jnp.tanh(_cell_output(c, params)), c=c)


def _cell_output(c: Array, params: LSTMParams) -> Array:
    return c if params.norm is None else layer_norm(c, (-1,)) * params.norm.c + params.norm.c_shift


# Ba et al. 2016, arXiv:1607.06450: u_t = LN(x_t W_x) ⊙ γ_x, the recurrent part LN(h_{t-1} W_h) ⊙ γ_h, and
# h_t = o ⊙ tanh(LN(c_t) ⊙ γ_c + β_c). Each LN takes all gates of a step together. The slots after the first G hold
# the recurrent part by itself, as it is normalised before the two meet.
def _project_normalised(x: Array, params: Params) -> Array:
    return layer_norm(matmul(x, params.w_x), (-2, -1)) * params.norm.x


def _normalised(pre: Array, params: Params) -> tuple[Array, Array]:
    u, v = jnp.split(pre, 2, axis=-2)
    return u, layer_norm(v, (-2, -1)) * params.norm.h


def _lstm_norm(pre: Array, state: LSTMState, params: LSTMParams) -> LSTMState:
    u, v = _normalised(pre, params)
    return _lstm(u + v, state, params)


_LSTM_GATES = ("i", "f", "g", "o")
LSTM = Cell("lstm", _LSTM_GATES, LSTMState, 4, (Product(_h, slice(0, 4), (0, 1, 2, 3)),), _lstm, params_type=LSTMParams)
LSTM_NORM = LSTM._replace(
    num_slots=8,
    products=(Product(_h, slice(0, 4), (4, 5, 6, 7)),),
    pointwise=_lstm_norm,
    project=_project_normalised,
    norm_type=LSTMNorm,
)


# Cho et al. 2014, arXiv:1406.1078v1, as in cuDNN and PyTorch. The slots are r, z, the input's part of n, and the
# recurrent part of n, which r multiplies before the two meet: n = tanh(W_xn x + b_n + r ⊙ (W_hn h + b_hn)).
def _gru_reset_after(pre: Array, state: GRUState, params: GRUParams) -> GRUState:
    return _gru(pre[..., :2, :], pre[..., 2, :], pre[..., 3, :], state, params)


def _gru(pre_rz: Array, u_n: Array, v_n: Array, state: GRUState, params: GRUParams) -> GRUState:
    rz = sigmoid(pre_rz)
    r, z = rz[..., 0, :], rz[..., 1, :]
    n = jnp.tanh(u_n + r * (v_n + jnp.asarray(params.b_hn, v_n.dtype)))
    return GRUState(h=(1 - z) * n + z * state.h)


def _gru_norm(pre: Array, state: GRUState, params: GRUParams) -> GRUState:
    u, v = _normalised(pre, params)
    return _gru(u[..., :2, :] + v[..., :2, :], u[..., 2, :], v[..., 2, :], state, params)


# arXiv:1406.1078v3, the textbook form: r multiplies h before its product, which therefore has to wait for r:
# n = tanh(W_h[r ⊙ h_{t-1}, x_t] + b_h).
def _reset_h(pre: Array, state: GRUState) -> Array:
    return sigmoid(pre[..., 0, :]) * state.h


def _gru_reset_before(pre: Array, state: GRUState, params: GRUParams) -> GRUState:
    z = sigmoid(pre[..., 1, :])
    n = jnp.tanh(pre[..., 2, :])
    return GRUState(h=(1 - z) * n + z * state.h)


_GRU_GATES = ("r", "z", "n")
GRU_RESET_AFTER = Cell(
    "gru",
    _GRU_GATES,
    GRUState,
    4,
    (Product(_h, slice(0, 3), (0, 1, 3)),),
    _gru_reset_after,
    params_type=GRUParams,
    has_recurrent_bias=True,
)
GRU_NORM = GRU_RESET_AFTER._replace(
    num_slots=6,
    products=(Product(_h, slice(0, 3), (3, 4, 5)),),
    pointwise=_gru_norm,
    project=_project_normalised,
    norm_type=GRUNorm,
)
GRU_RESET_BEFORE = Cell(
    "gru_reset_before",
    _GRU_GATES,
    GRUState,
    3,
    (Product(_h, slice(0, 2), (0, 1)), Product(_reset_h, slice(2, 3), (2,))),
    _gru_reset_before,
    params_type=GRUParams,
)


def elman_cell(activation: str) -> Cell:
    """The Elman cell with φ = "tanh" or "relu"; ValueError for another name."""
    cells = {"tanh": ELMAN_TANH, "relu": ELMAN_RELU}
    if activation not in cells:
        raise ValueError(f"activation: expected 'tanh' or 'relu', got {activation!r}")
    return cells[activation]


def lstm_cell(*, layer_norm: bool = False) -> Cell:
    """The LSTM, plain or layer-normalised; projection and peepholes are in its parameters."""
    return LSTM_NORM if layer_norm else LSTM


def gru_cell(reset_after: bool, *, layer_norm: bool = False) -> Cell:
    """The GRU of one family or the other; only that of `reset_after` can be layer-normalised, or ValueError."""
    if layer_norm and not reset_after:
        raise ValueError("layer_norm: expected False for a GRU with reset_after=False, got True")
    return GRU_NORM if layer_norm else GRU_RESET_AFTER if reset_after else GRU_RESET_BEFORE
