"""The libraries that are compared: each makes, for a case, a forward pass and one with all gradients.

And variants of ours: each backend by its name, and ways to run the fused scan that are no default.

All hold the same weights, carried over by `jaxrnn.convert`, and get their inputs in the layout they like best. The
first is ours.
"""

from functools import partial

from benchmarks import candidates
from benchmarks.peers import flax, keras, ours, pytorch, scans
from benchmarks.peers.runner import Peer
from benchmarks.peers.runner import Runner as Runner
from jaxrnn import core

candidates.register_all()

PEERS = {
    "jaxrnn": Peer(ours.make),
    "plain lax.scan": Peer(ours.make_plain),
    "PyTorch padded": Peer(pytorch.make_padded, needs="torch"),
    "PyTorch packed": Peer(pytorch.make_packed, needs="torch"),
    "flax.nnx.RNN": Peer(flax.make),
    "Keras 3 on JAX": Peer(keras.make, needs="keras"),
}
BACKENDS = {f"jaxrnn {name}": Peer(partial(ours.make_backend, backend=name)) for name in core.backends()}
SCANS = {scans.name(**options): Peer(partial(scans.make, **options)) for options in scans.OPTIONS}
VARIANTS = BACKENDS | SCANS
