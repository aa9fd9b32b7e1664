"""`flax.nnx.RNN`, two of them in `nnx.Bidirectional`, one on top of the other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.cases import Case
from benchmarks.peers.ours import make_layer, matrices
from benchmarks.peers.runner import Runner, jax_runner
from jaxrnn import convert

CELLS = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}


def make(case: Case) -> Runner:
    """The layers with the case's weights."""
    kind = "nnx_optimized" if case.cell == "lstm" else "nnx"
    cells = []
    for ours in make_layer(case).cells:
        cell = CELLS[case.cell](ours.in_features, case.hidden, dtype=jnp.dtype(case.dtype), rngs=nnx.Rngs(0))
        nnx.update(cell, nnx.State(convert.to_flax(ours, kind)))
        cells.append(cell)
    graph, weights, rest = nnx.split(nnx.List(cells), nnx.Param, ...)

    def run(weights: Any, x: Any, lengths: jax.Array | None) -> jax.Array:
        # rngs=False and a given carry: a random stream may not be drawn from inside jit.
        rnns = [nnx.RNN(cell, time_major=True, rngs=False) for cell in nnx.merge(graph, weights, rest)]
        # SimpleCell's state has the products' dtype, the others' is float32.
        zeros = jnp.zeros((case.batch, case.hidden), case.dtype if case.cell == "elman" else "float32")
        carry = (zeros, zeros) if case.cell == "lstm" else zeros
        for k in range(0, len(rnns), case.directions):
            options = {"seq_lengths": lengths, "time_major": True}
            if case.directions == 1:
                x = rnns[k](x, initial_carry=carry, **options)
            else:
                both = nnx.Bidirectional(rnns[k], rnns[k + 1], time_major=True, rngs=False)
                x = both(x, initial_carry=(carry, carry), **options)
        return x

    def gradients(weights: Any) -> dict[str, np.ndarray]:
        layer = make_layer(case)
        for ours, theirs in zip(layer.cells, nnx.merge(graph, weights, rest), strict=True):
            convert.from_flax(ours, nnx.to_pure_dict(nnx.state(theirs, nnx.Param)))
        return matrices(layer)

    return jax_runner(case, run, weights, gradients=gradients)
