"""States and weights of the cells, as NamedTuples of arrays.

Gate order, as in PyTorch and cuDNN: LSTM `i f g o`, GRU `r z n`. Weights carry an explicit gate axis:
w_x [features, gates, hidden], w_h [hidden, gates, hidden], b [gates, hidden]. An optional field that is present makes
the cell another one: what is in the weights is what is computed.
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
    """State of an LSTM: hidden state h, `[batch, hidden]` (or projected), and cell state c, `[batch, hidden]`."""

    h: Float[AnyArray, "*batch projected"]
    c: Hidden


class ElmanParams(NamedTuple):
    """Weights of an Elman cell."""

    w_x: Float[AnyArray, "features 1 hidden"]
    w_h: Float[AnyArray, "hidden 1 hidden"]
    b: Float[AnyArray, "1 hidden"]


class LSTMNorm(NamedTuple):
    """Gains of a layer-normalised LSTM: of the input's part, the recurrent part, and the cell state with its shift."""

    x: Float[AnyArray, "4 hidden"]
    h: Float[AnyArray, "4 hidden"]
    c: Float[AnyArray, " hidden"]
    c_shift: Float[AnyArray, " hidden"]


class LSTMParams(NamedTuple):
    """Weights of an LSTM, gates in the order i f g o.

    w_p projects the output, and h is then `[batch, projected]` wherever h stands; `peephole` has the weights from the
    cell state to i, f and o; `norm` the gains of layer normalisation.
    """

    w_x: Float[AnyArray, "features 4 hidden"]
    w_h: Float[AnyArray, "projected 4 hidden"]
    b: Float[AnyArray, "4 hidden"]
    w_p: Float[AnyArray, "hidden projected"] | None = None
    peephole: Float[AnyArray, "3 hidden"] | None = None
    norm: LSTMNorm | None = None


class GRUNorm(NamedTuple):
    """Gains of a layer-normalised GRU: of the input's part and the recurrent part."""

    x: Float[AnyArray, "3 hidden"]
    h: Float[AnyArray, "3 hidden"]


class GRUParams(NamedTuple):
    """Weights of a GRU, gates in the order r z n; b_hn is None for `reset_after=False`."""

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
Layers = Sequence[Sequence[Any]]  # weights, or states, of each direction of each layer
