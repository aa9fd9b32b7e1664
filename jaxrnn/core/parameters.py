"""States and weights of the cells, as NamedTuples of arrays.

Gate order, as in PyTorch and cuDNN: LSTM `i f g o`, GRU `r z n`. Weights carry an explicit gate axis:
w_x [features, gates, hidden], w_h [hidden, gates, hidden], b [gates, hidden]. The optional fields that are given decide
which variant of the cell is computed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jaxtyping import Float

from jaxrnn.typing import AnyArray, Hidden


class ElmanState(NamedTuple):
    """State of an Elman cell: h, `[batch, hidden]`."""

    h: Hidden


class GRUState(NamedTuple):
    """State of a GRU: h, `[batch, hidden]`."""

    h: Hidden


class LSTMState(NamedTuple):
    """State of an LSTM.

    Attributes:
      h: Hidden state, `[batch, hidden]`, or `[batch, projected]` with a projection.
      c: Cell state, `[batch, hidden]`.
    """

    h: Float[AnyArray, "*batch projected"]
    c: Hidden


class ElmanParams(NamedTuple):
    """Weights of an Elman cell: w_x of the input, w_h of the hidden state, b the bias."""

    w_x: Float[AnyArray, "features 1 hidden"]
    w_h: Float[AnyArray, "hidden 1 hidden"]
    b: Float[AnyArray, "1 hidden"]


class LSTMNorm(NamedTuple):
    """Gains of a layer-normalised LSTM.

    Attributes:
      x: Gains of the input's part of the pre-activations.
      h: Gains of their recurrent part.
      c: Gains of the cell state.
      c_shift: Shifts of the cell state.
    """

    x: Float[AnyArray, "4 hidden"]
    h: Float[AnyArray, "4 hidden"]
    c: Float[AnyArray, " hidden"]
    c_shift: Float[AnyArray, " hidden"]


class LSTMParams(NamedTuple):
    """Weights of an LSTM, gates in the order i f g o.

    Attributes:
      w_x: Weights of the input.
      w_h: Weights of the hidden state.
      b: Biases.
      w_p: Projection of the output, after which h is `[batch, projected]` everywhere; None means no projection.
      peephole: Weights from the cell state to i, f and o; None means no peepholes.
      norm: Gains of layer normalisation; None means none.
    """

    w_x: Float[AnyArray, "features 4 hidden"]
    w_h: Float[AnyArray, "projected 4 hidden"]
    b: Float[AnyArray, "4 hidden"]
    w_p: Float[AnyArray, "hidden projected"] | None = None
    peephole: Float[AnyArray, "3 hidden"] | None = None
    norm: LSTMNorm | None = None


class GRUNorm(NamedTuple):
    """Gains of a layer-normalised GRU: x of the input's part of the pre-activations, h of their recurrent part."""

    x: Float[AnyArray, "3 hidden"]
    h: Float[AnyArray, "3 hidden"]


class GRUParams(NamedTuple):
    """Weights of a GRU, gates in the order r z n.

    Attributes:
      w_x: Weights of the input.
      w_h: Weights of the hidden state.
      b: Biases.
      b_hn: Bias of the recurrent part of n for `reset_after=True`; None for `reset_after=False`.
      norm: Gains of layer normalisation; None means none.
    """

    w_x: Float[AnyArray, "features 3 hidden"]
    w_h: Float[AnyArray, "hidden 3 hidden"]
    b: Float[AnyArray, "3 hidden"]
    b_hn: Float[AnyArray, " hidden"] | None = None
    norm: GRUNorm | None = None


# So that programs with these among their arguments can be exported and written to disk.
for _type in (ElmanState, GRUState, LSTMState, ElmanParams, LSTMNorm, LSTMParams, GRUNorm, GRUParams):
    jax.export.register_namedtuple_serialization(_type, serialized_name=f"jaxrnn.{_type.__name__}")

State = Any  # one of the NamedTuples above; `h`, the output, comes first
Params = Any
Layers = Sequence[Sequence[Any]]  # weights, or states, by layer and direction
