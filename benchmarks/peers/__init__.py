"""The libraries that are compared: each makes, for a case, a forward pass and one with all gradients.

All hold the same weights, carried over by `jaxrnn.convert`, and get their inputs in the layout they like best. The
first is ours.
"""

from benchmarks.peers import flax, keras, ours, pytorch
from benchmarks.peers.runner import Peer
from benchmarks.peers.runner import Runner as Runner

PEERS = {
    "jaxrnn": Peer(ours.make),
    "plain lax.scan": Peer(ours.make_plain),
    "PyTorch padded": Peer(pytorch.make_padded, needs="torch"),
    "PyTorch packed": Peer(pytorch.make_packed, needs="torch"),
    "flax.nnx.RNN": Peer(flax.make),
    "Keras 3 on JAX": Peer(keras.make, needs="keras"),
}
