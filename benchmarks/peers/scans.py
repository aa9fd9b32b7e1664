"""Ways to run the fused scan that are no default: in a CUDA graph, both directions in one scan, steps unrolled."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.candidates.cuda_graph import cuda_graph_options
from benchmarks.cases import Case
from benchmarks.peers.ours import make_layer, matrices
from benchmarks.peers.runner import CannotServeError, Runner, jax_runner
from jaxrnn.core.checks import checked_state
from jaxrnn.core.control import Direction, Loop, Steps, length_mask, zero_padding
from jaxrnn.core.scans.fused import fused_scan
from jaxrnn.nn import RecurrentCell

OPTIONS: list[dict[str, Any]] = [
    {"together": False, "graph": True},
    {"together": True, "graph": False},
    {"together": True, "graph": True},
    *({"together": True, "graph": False, "unroll": unroll} for unroll in (2, 4, 8)),
]


def name(*, together: bool, graph: bool, unroll: int = 1) -> str:
    """What the report calls it."""
    words = ["one scan" if together else "scan"]
    words += [f"unroll {unroll}"] if unroll > 1 else []
    return ", ".join(words + (["CUDA graph"] if graph else []))


def make(case: Case, *, together: bool, graph: bool, unroll: int = 1) -> Runner:
    """The layer with the case's weights.

    Args:
      case: what is run.
      together: both directions in one scan, whose products are stacks of two; else a scan for each, as by default.
      graph: compiled with `cuda_graph_options`.
      unroll: steps in one turn of the loop.

    Raises:
      CannotServeError: there is one direction and `together` is asked for.
    """
    if together and case.directions == 1:
        raise CannotServeError("one direction")
    graph_definition, weights = nnx.split(make_layer(case))

    def run(weights: Any, x: jax.Array, lengths: jax.Array | None) -> jax.Array:
        cells = nnx.merge(graph_definition, weights).cells
        mask = length_mask(lengths, case.time)
        for k in range(0, len(cells), case.directions):
            layer = both if together else one_by_one
            x = zero_padding(mask, layer(cells[k : k + case.directions], x, mask, unroll))
        return x

    return jax_runner(
        case,
        run,
        weights,
        gradients=lambda gradients: matrices(nnx.merge(graph_definition, gradients)),
        compiler_options=cuda_graph_options() if graph else None,
    )


def one_by_one(cells: list[RecurrentCell], x: jax.Array, mask: jax.Array | None, unroll: int) -> jax.Array:
    """A scan for each direction."""
    outputs = []
    for direction, cell in enumerate(cells):
        loop = Loop(cell.core_cell, reverse=direction == 1, unroll=unroll)
        outputs.append(_scan(loop, x, cell.params, mask))
    return jnp.concatenate(outputs, axis=-1)


def both(cells: list[RecurrentCell], x: jax.Array, mask: jax.Array | None, unroll: int) -> jax.Array:
    """One scan over both directions, the second of which reads its input, and writes its output, from the end."""
    params = jax.tree.map(lambda *parts: jnp.stack(parts), *(cell.params for cell in cells))
    inputs = [jnp.stack([a, a[::-1]]) for a in ([x] if mask is None else [x, mask])]
    scan = partial(_scan, Loop(cells[0].core_cell, unroll=unroll))
    y = jax.vmap(lambda params, x, *mask: scan(x, params, *mask))(params, *inputs)
    return jnp.concatenate([y[0], y[1, ::-1]], axis=-1)


def _scan(loop: Loop, x: jax.Array, params: Any, mask: jax.Array | None = None) -> jax.Array:
    state = checked_state("state", loop.cell, None, params, x.shape[1])
    y, _ = fused_scan(x, Direction(loop, params, state, steps=Steps(mask=mask)))
    return jnp.asarray(y).astype(x.dtype)
