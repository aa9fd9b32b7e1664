"""Our layer, and the same by a plain `lax.scan` with autodiff."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks import candidates
from benchmarks.cases import Case
from benchmarks.peers.runner import CannotServeError, Runner, jax_runner
from benchmarks.trial import why_it_fails
from jaxrnn import core, nn

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.Elman}
N_GATE = 2  # of the GRU's r, z, n


def make_layer(case: Case, backend: core.BackendName | None = None) -> nn.RecurrentLayer:
    """Our layer with the case's weights, those that every library gets.

    The GRU's b_hn is zero, as Flax's has no place for it.
    """
    layer = LAYERS[case.cell](
        case.features,
        case.hidden,
        case.layers,
        bidirectional=case.directions == 2,
        init="torch",
        double_bias=True,
        time_major=True,
        dtype=None if case.dtype == "float32" else jnp.dtype(case.dtype),
        backend=backend,
        rngs=nnx.Rngs(0),
    )
    if case.cell == "gru":
        for cell in layer.cells:
            b_h = cell.weights()["b_h"]
            b_h[...] = b_h[...].at[N_GATE].set(0)
    return layer


def matrices(layer: nn.RecurrentLayer) -> dict[str, np.ndarray]:
    """w_x and w_h of each cell: what is compared of a layer that holds gradients in place of weights."""
    return {
        f"cell {k}, {name}": np.asarray(cell.weights()[name][...], np.float32)
        for k, cell in enumerate(layer.cells)
        for name in ("w_x", "w_h")
    }


def make(case: Case) -> Runner:
    """Our layer as users get it."""
    return _make(case, None)


def make_plain(case: Case) -> Runner:
    """The plain scan: what anyone would write in JAX."""
    return _make(case, "reference")


def chosen(case: Case) -> core.Resolution:
    """Which backend our layer takes by itself, and why not each other one; no array is made."""
    gates = {"lstm": 4, "gru": 3, "elman": 1}[case.cell]
    types = {"lstm": core.LSTMParams, "gru": core.GRUParams, "elman": core.ElmanParams}
    cells = {"lstm": core.lstm_cell(), "gru": core.gru_cell(True), "elman": core.elman_cell("tanh")}

    def weights(width: int) -> Any:
        shapes = (width, gates, case.hidden), (case.hidden, gates, case.hidden), (gates, case.hidden)
        return types[case.cell](*(jax.ShapeDtypeStruct(shape, case.dtype) for shape in shapes))

    layers = [[weights(width)] * case.directions for width in case.layer_widths]
    x = jax.ShapeDtypeStruct((case.time, case.batch, case.features), "float32")
    lengths = None if case.lengths == "full" else case.draw_lengths()
    return core.resolve_backend(cells[case.cell], x, layers, lengths=lengths)


def make_backend(case: Case, backend: str) -> Runner:
    """Our layer by one backend.

    Raises:
      CannotServeError: it cannot serve the case here; its own reason.
    """
    here = core.backends()[backend]
    if here is None and backend in candidates.NAMES:
        here = why_it_fails(backend)
    if here is not None:
        raise CannotServeError(here)
    try:
        return _make(case, backend)
    except ValueError as error:
        raise CannotServeError(str(error)) from error


def _make(case: Case, backend: core.BackendName | None) -> Runner:
    graph, weights = nnx.split(make_layer(case, backend))
    return jax_runner(
        case,
        lambda weights, x, lengths: nnx.merge(graph, weights)(x, lengths=lengths)[0],
        weights,
        gradients=lambda gradients: matrices(nnx.merge(graph, gradients)),
    )
