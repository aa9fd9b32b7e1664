"""Weights from and to Keras 3, as its `get_weights()` lists them. Keras itself is never imported.

A recurrent layer's list is kernel [features, gates·hidden], recurrent_kernel [hidden, gates·hidden] and, with biases,
bias [gates·hidden], or [2, gates·hidden] for a GRU with `reset_after=True`: the input's bias, then the recurrent one.
`Bidirectional` lists the forward layer, then the backward one; a model lists its layers in order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxrnn import nn
from jaxrnn.convert.layout import (
    Loaded,
    Weights,
    assign,
    both_biases,
    check_plain,
    export_cell,
    load_cell,
    named_cells,
    split_bias,
)
from jaxrnn.convert.reading import as_floats

GRU_ORDER = [1, 0, 2]  # turns our gate order r z n into Keras's z r n, and back


def from_keras(module: nn.RecurrentLayer, weights: Sequence[Any]) -> None:
    """Loads Keras weights into ours, in place; if anything is wrong, nothing changes.

    Args:
      module: `nn.LSTM`, `nn.GRU` (of the same `reset_after`) or `nn.Elman`, of the same sizes; `nn.Elman` stands for
        `SimpleRNN`. Weights do not hold the merge of the directions or φ: those are the module's own.
      weights: Arrays as `get_weights()` of the layer, of its `Bidirectional`, or of a model of such layers lists them.

    Raises:
      ValueError: There are too few or too many arrays, one has another shape, or the module has no Keras equivalent.

    Example:
      >>> import numpy as np
      >>> lstm = nn.LSTM(2, 3, rngs=0)
      >>> from_keras(lstm, [np.ones((2, 12)), np.ones((3, 12)), np.arange(12.0)])
      >>> lstm.cells[0].b[...][1]  # of the forget gate
      Array([3., 4., 5.], dtype=float32)
    """
    check_plain(module, "Keras", merges=True)
    if not isinstance(weights, Sequence):
        raise ValueError(f"weights: expected a list of arrays, got {type(weights).__name__}")
    arrays = [as_floats(f"weights[{k}]", array) for k, array in enumerate(weights)]
    expected = [shapes for _, cell in named_cells(module) for shapes in _shapes(cell).values()]
    if [array.shape for array in arrays] != expected:
        got = [list(array.shape) for array in arrays]
        raise ValueError(f"weights: expected arrays of shapes {[list(shape) for shape in expected]}, got {got}")
    remaining = iter(arrays)
    loaded: Loaded = []
    for _, cell in named_cells(module):
        loaded += load_cell(cell, _ours(cell, remaining))
    assign(loaded)


def to_keras(module: nn.RecurrentLayer) -> list[np.ndarray]:
    """The weights as Keras's `set_weights` takes them; see `from_keras`.

    Raises:
      ValueError: The module has no Keras equivalent.
    """
    check_plain(module, "Keras", merges=True)
    return [array for _, cell in named_cells(module) for array in _theirs(cell, export_cell(cell))]


def _is_double(cell: nn.RecurrentCell) -> bool:
    """Whether Keras gives this cell two biases."""
    return cell.core_cell.has_recurrent_bias


def _shapes(cell: nn.RecurrentCell) -> dict[str, tuple[int, ...]]:
    columns = cell.core_cell.num_gates * cell.hidden_features
    shapes: dict[str, tuple[int, ...]] = {
        "kernel": (cell.in_features, columns),
        "recurrent_kernel": (cell.hidden_features, columns),
    }
    if "b" in cell.weights():
        shapes["bias"] = (2, columns) if _is_double(cell) else (columns,)
    return shapes


def _reorder(cell: nn.RecurrentCell, array: np.ndarray) -> np.ndarray:
    return array[..., GRU_ORDER, :] if cell.core_cell.num_gates == 3 else array


def _ours(cell: nn.RecurrentCell, arrays: Iterator[np.ndarray]) -> Weights:
    gates, hidden = cell.core_cell.num_gates, cell.hidden_features

    def take() -> np.ndarray:
        array = next(arrays)
        return _reorder(cell, array.reshape(*array.shape[:-1], gates, hidden))

    ours = {"w_x": take(), "w_h": take()}
    if "b" in cell.weights():
        bias = take()
        ours |= split_bias(cell, *(bias if _is_double(cell) else (bias, np.zeros_like(bias))))
    return ours


def _theirs(cell: nn.RecurrentCell, ours: Weights) -> Iterator[np.ndarray]:
    def flatten(array: np.ndarray) -> np.ndarray:
        array = _reorder(cell, array)
        return np.ascontiguousarray(array.reshape(*array.shape[:-2], -1))

    yield flatten(ours["w_x"])
    yield flatten(ours["w_h"])
    if "b" in ours:
        b, b_h = both_biases(ours)
        yield flatten(np.stack([b, b_h]) if _is_double(cell) else b + b_h)
