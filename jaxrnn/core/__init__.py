"""Recurrences as pure functions on arrays: jax and numpy only."""

from jaxrnn.core.cells import LSTM as LSTM
from jaxrnn.core.cells import Cell as Cell
from jaxrnn.core.cells import ElmanParams as ElmanParams
from jaxrnn.core.cells import ElmanState as ElmanState
from jaxrnn.core.cells import GRUParams as GRUParams
from jaxrnn.core.cells import GRUState as GRUState
from jaxrnn.core.cells import LSTMParams as LSTMParams
from jaxrnn.core.cells import LSTMState as LSTMState
from jaxrnn.core.cells import Product as Product
from jaxrnn.core.cells import elman_cell as elman_cell
from jaxrnn.core.cells import gru_cell as gru_cell
from jaxrnn.core.cells import step as step
from jaxrnn.core.dispatch import checked_lengths as checked_lengths
from jaxrnn.core.dispatch import elman as elman
from jaxrnn.core.dispatch import gru as gru
from jaxrnn.core.dispatch import lstm as lstm
from jaxrnn.core.dispatch import resolve_backend as resolve_backend
from jaxrnn.core.dispatch import unroll as unroll
from jaxrnn.core.masking import hold as hold
from jaxrnn.core.masking import length_mask as length_mask
from jaxrnn.core.masking import zero_padding as zero_padding
