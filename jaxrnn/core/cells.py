"""The gate equations: each cell, once, as data that every scan and backend shares.

Symbols: x_t input, h_t hidden state, c_t cell state, σ logistic, ⊙ elementwise. A step has three parts:

1. the input projection u_t = x_t W_x + b, which does not depend on the state and so is taken out of the loop;
2. the recurrent products, each `operand @ w_h[:, gates]`, added to u_t: together, the pre-activations;
3. the pointwise function from pre-activations and previous state to the new state.

A `Cell` names its gates and states, says what its products are, and gives the pointwise function. The scans,
the masking and the reverse pass know nothing else of it: parts 2 and 3 are differentiated by `jax.vjp`.

Gate order, as in PyTorch and cuDNN: LSTM `i f g o`, GRU `r z n`. Weights carry an explicit gate axis:
w_x [features, gates, hidden], w_h [hidden, gates, hidden], b [gates, hidden].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxrnn.typing import AnyArray, Hidden


class ElmanState(NamedTuple):
    """State of an Elman cell: h, `[batch, hidden]`."""

    h: Hidden


class GRUState(NamedTuple):
    """State of a GRU: h, `[batch, hidden]`."""

    h: Hidden


class LSTMState(NamedTuple):
    """State of an LSTM: hidden state h and cell state c, each `[batch, hidden]`."""

    h: Hidden
    c: Hidden


class ElmanParams(NamedTuple):
    """Weights of an Elman cell."""

    w_x: Float[AnyArray, "features 1 hidden"]
    w_h: Float[AnyArray, "hidden 1 hidden"]
    b: Float[AnyArray, "1 hidden"]


class LSTMParams(NamedTuple):
    """Weights of an LSTM, gates in the order i f g o."""

    w_x: Float[AnyArray, "features 4 hidden"]
    w_h: Float[AnyArray, "hidden 4 hidden"]
    b: Float[AnyArray, "4 hidden"]


class GRUParams(NamedTuple):
    """Weights of a GRU, gates in the order r z n; b_hn is None for `reset_after=False`."""

    w_x: Float[AnyArray, "features 3 hidden"]
    w_h: Float[AnyArray, "hidden 3 hidden"]
    b: Float[AnyArray, "3 hidden"]
    b_hn: Float[AnyArray, " hidden"] | None


State = Any  # one of the NamedTuples above; `h`, the output, comes first
Params = Any


class Product(NamedTuple):
    """One recurrent matrix product: `operand(pre, state) @ w_h[:, gates]`, added to `slots` of the pre-activations."""

    operand: Callable[[Array, State], Array]
    gates: slice
    slots: tuple[int, ...]


class Cell(NamedTuple):
    """A recurrent cell as data.

    `pre` below is the array of pre-activations, `[..., num_slots, hidden]`: slots 0 to G-1 start as the projected
    input's gates, further ones at zero.
    """

    name: str
    gates: tuple[str, ...]
    state_type: type
    num_slots: int
    products: tuple[Product, ...]
    pointwise: Callable[[Array, State, Params], State]  # (pre, previous state, extra parameters) -> state

    @property
    def num_gates(self) -> int:
        """G, the length of the weights' gate axis."""
        return len(self.gates)


def project(x: Array, w_x: Array, b: Array) -> Array:
    """The input projection u = x W_x + b, `[..., features]` -> `[..., gates, hidden]`, as one matrix product."""
    return matmul(x, w_x) + b


def matmul(a: Array, w: Array) -> Array:
    """`[..., K] @ [K, gates, hidden]`: products in the weights' dtype, accumulated in at least float32."""
    product = jnp.dot(a.astype(w.dtype), w.reshape(w.shape[0], -1), preferred_element_type=accumulator(w.dtype))
    return product.reshape(*a.shape[:-1], *w.shape[1:])


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype of sums, gates and states: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def preactivations(cell: Cell, u: Array, state: State, w_h: Array) -> Array:
    """Projected input u `[..., gates, hidden]` plus the recurrent products: `[..., num_slots, hidden]`."""
    pre = u
    for operand, gates, slots in cell.products:
        v = matmul(operand(pre, state), w_h[:, gates])
        pre = _add_to_slots(pre, slots, v, cell.num_slots)
    return pre


def _add_to_slots(pre: Array, slots: tuple[int, ...], v: Array, num_slots: int) -> Array:
    if len(slots) == num_slots:
        return pre + v
    rows = [pre[..., k, :] if k < pre.shape[-2] else jnp.zeros_like(pre[..., 0, :]) for k in range(num_slots)]
    for k, slot in enumerate(slots):
        rows[slot] = rows[slot] + v[..., k, :]
    return jnp.stack(rows, axis=-2)


def step(cell: Cell, x: Array, params: Params, state: State) -> State:
    """One step of a cell from its input x `[..., features]`: the definition that everything else must equal."""
    w_x, w_h, b, *extra = params
    pre = preactivations(cell, project(x, w_x, b), state, w_h)
    return cell.pointwise(pre, state, extra)


def sigmoid(x: Array) -> Array:
    """σ(x) = ½ + ½ tanh(x/2): tanh vectorises well where the division in 1/(1 + exp(-x)) does not."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _h(pre: Array, state: State) -> Array:
    return state.h


def _elman(activation: Callable[[Array], Array]) -> Callable[[Array, ElmanState, Params], ElmanState]:
    def pointwise(pre: Array, state: ElmanState, extra: Params) -> ElmanState:
        return ElmanState(h=activation(pre[..., 0, :]))

    return pointwise


# i, f and o go through σ, g through tanh. Both are a·tanh(a·x) + (1-a), with a = ½ for σ and 1 for tanh, so one
# tanh over the whole block serves all four gates.
_LSTM_SCALE = np.array([[0.5], [0.5], [1.0], [0.5]])


def _lstm(pre: Array, state: LSTMState, extra: Params) -> LSTMState:
    a = _LSTM_SCALE.astype(pre.dtype)
    gates = a * jnp.tanh(a * pre) + (1 - a)
    i, f, g, o = (gates[..., k, :] for k in range(4))
    c = f * state.c + i * g
    return LSTMState(h=o * jnp.tanh(c), c=c)


def _gru_reset_after(pre: Array, state: GRUState, extra: Params) -> GRUState:
    (b_hn,) = extra
    rz = sigmoid(pre[..., :2, :])
    r, z = rz[..., 0, :], rz[..., 1, :]
    n = jnp.tanh(pre[..., 2, :] + r * (pre[..., 3, :] + b_hn.astype(pre.dtype)))
    return GRUState(h=(1 - z) * n + z * state.h)


def _reset_h(pre: Array, state: GRUState) -> Array:
    return sigmoid(pre[..., 0, :]) * state.h


def _gru_reset_before(pre: Array, state: GRUState, extra: Params) -> GRUState:
    z = sigmoid(pre[..., 1, :])
    n = jnp.tanh(pre[..., 2, :])
    return GRUState(h=(1 - z) * n + z * state.h)


# Elman 1990, doi:10.1207/s15516709cog1402_1: h_t = φ(W_hh h_{t-1} + W_xh x_t + b).
ELMAN_TANH = Cell("elman", ("h",), ElmanState, 1, (Product(_h, slice(0, 1), (0,)),), _elman(jnp.tanh))
ELMAN_RELU = Cell("elman", ("h",), ElmanState, 1, (Product(_h, slice(0, 1), (0,)),), _elman(jax.nn.relu))

# Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with the forget gate of Gers et al. 2000:
# i, f, o = σ(W[h_{t-1}, x_t] + b), g = tanh(W_c[h_{t-1}, x_t] + b_c),
# c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t).
LSTM = Cell("lstm", ("i", "f", "g", "o"), LSTMState, 4, (Product(_h, slice(0, 4), (0, 1, 2, 3)),), _lstm)

# Cho et al. 2014, arXiv:1406.1078v1, as in cuDNN and PyTorch. The slots are r, z, the input's part of n, and the
# recurrent part of n, which r multiplies before the two meet: n = tanh(W_xn x + b_n + r ⊙ (W_hn h + b_hn)).
GRU_RESET_AFTER = Cell("gru", ("r", "z", "n"), GRUState, 4, (Product(_h, slice(0, 3), (0, 1, 3)),), _gru_reset_after)

# arXiv:1406.1078v3, the textbook form: r multiplies h before its product, which therefore has to wait for r:
# n = tanh(W_h[r ⊙ h_{t-1}, x_t] + b_h).
GRU_RESET_BEFORE = Cell(
    "gru_reset_before",
    ("r", "z", "n"),
    GRUState,
    3,
    (Product(_h, slice(0, 2), (0, 1)), Product(_reset_h, slice(2, 3), (2,))),
    _gru_reset_before,
)


def elman_cell(activation: str) -> Cell:
    """The Elman cell with φ = "tanh" or "relu"; ValueError for another name."""
    cells = {"tanh": ELMAN_TANH, "relu": ELMAN_RELU}
    if activation not in cells:
        raise ValueError(f"activation: expected 'tanh' or 'relu', got {activation!r}")
    return cells[activation]


def gru_cell(reset_after: bool) -> Cell:
    """The GRU of one family or the other."""
    return GRU_RESET_AFTER if reset_after else GRU_RESET_BEFORE
