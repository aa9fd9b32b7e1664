"""Flax nnx modules: they own weights and random streams; the mathematics is in `jaxrnn.core`."""

from jaxrnn.core import Initializers as Initializers
from jaxrnn.core import InitName as InitName
from jaxrnn.nn.attention import AdditiveAttention as AdditiveAttention
from jaxrnn.nn.attention import Attention as Attention
from jaxrnn.nn.attention import DotAttention as DotAttention
from jaxrnn.nn.cells import ElmanCell as ElmanCell
from jaxrnn.nn.cells import GRUCell as GRUCell
from jaxrnn.nn.cells import LSTMCell as LSTMCell
from jaxrnn.nn.cells import RecurrentCell as RecurrentCell
from jaxrnn.nn.layers import GRU as GRU
from jaxrnn.nn.layers import LSTM as LSTM
from jaxrnn.nn.layers import Elman as Elman
from jaxrnn.nn.pooling import AttentionName as AttentionName
from jaxrnn.nn.pooling import Pooling as Pooling
from jaxrnn.nn.pooling import PoolingName as PoolingName
from jaxrnn.nn.rnn import RNN as RNN
from jaxrnn.nn.stack import RecurrentLayer as RecurrentLayer
from jaxrnn.nn.word_dropout import WordDropout as WordDropout
