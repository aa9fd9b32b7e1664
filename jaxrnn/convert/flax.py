"""Weights from and to Flax's own cells, nnx and linen, as nested dicts of arrays.

For an nnx cell the dict is `nnx.to_pure_dict(nnx.state(cell, nnx.Param))`, for a linen cell its `params`. Flax's cells
have one bias for each gate. Their carry is (c, h) where ours is (h, c).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from jaxrnn import nn
from jaxrnn.convert.layout import N_GATE, Weights, assign, both_biases, export_cell, load_cell, split_bias
from jaxrnn.convert.reading import as_floats

Kind = Literal["nnx", "nnx_optimized", "linen"]


class Dense(NamedTuple):
    """One of the Dense layers that a Flax cell consists of.

    Attributes:
      name: Its name in Flax.
      side: Which of our matrices it holds a part of.
      gates: Which of our gates are side by side in its columns.
      has_bias: Whether it has a bias.
    """

    name: str
    side: Literal["w_x", "w_h"]
    gates: tuple[int, ...]
    has_bias: bool


def from_flax(cell: nn.RecurrentCell, params: Mapping[str, Any]) -> None:
    """Loads the weights of a Flax cell into ours, in place; if anything is wrong, nothing changes.

    Args:
      cell: `nn.LSTMCell`, `nn.GRUCell(reset_after=True)` or `nn.ElmanCell`, such as one of `layer.cells`. The
        last stands for Flax's `SimpleCell`.
      params: Nested dict of the arrays of nnx's or linen's `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` or
        `SimpleCell`. Its keys show which of them it is.

    Raises:
      ValueError: A key is missing or unexpected, an array has another shape, or the cell has no Flax equivalent.

    Example:
      >>> from flax import nnx
      >>> theirs = nnx.OptimizedLSTMCell(2, 3, rngs=nnx.Rngs(0))
      >>> ours = nn.LSTMCell(2, 3, rngs=1)
      >>> from_flax(ours, nnx.to_pure_dict(nnx.state(theirs, nnx.Param)))
      >>> bool((ours.w_x[...].reshape(2, 12) == theirs.dense_i.kernel[...]).all())
      True
    """
    _check(cell)
    if not isinstance(params, Mapping):
        raise ValueError(f"params: expected a nested dict of arrays, got {type(params).__name__}")
    theirs = {name: as_floats(f"params[{name!r}]", value) for name, value in _flatten(params)}
    denses = _denses(cell, _kind(theirs))
    shapes = {name: shape for dense in denses for name, shape in _shapes(cell, dense).items()}
    if theirs.keys() != shapes.keys():
        missing, unexpected = sorted(shapes.keys() - theirs.keys()), sorted(theirs.keys() - shapes.keys())
        raise ValueError(f"params: missing keys {missing}, unexpected keys {unexpected}")
    for name, shape in shapes.items():
        if theirs[name].shape != shape:
            raise ValueError(f"params[{name!r}]: expected shape {list(shape)}, got {list(theirs[name].shape)}")
    assign(load_cell(cell, _ours(cell, theirs, denses)))


def to_flax(cell: nn.RecurrentCell, kind: Kind) -> dict[str, Any]:
    """The weights as a nested dict for a Flax cell.

    Args:
      cell: As in `from_flax`.
      kind: "linen", "nnx", or "nnx_optimized" for nnx's `OptimizedLSTMCell`, which lays its weights out in another way.

    Raises:
      ValueError: The cell has no Flax equivalent, such as a GRU in nnx, which has no place for a b_hn that is not
        zero.
    """
    _check(cell)
    if kind not in get_args(Kind):
        raise ValueError(f"kind: expected one of {', '.join(get_args(Kind))}, got {kind!r}")
    return _theirs(export_cell(cell), _denses(cell, kind))


def _check(cell: nn.RecurrentCell) -> None:
    if not isinstance(cell, nn.RecurrentCell):
        raise ValueError(f"cell: expected nn.LSTMCell, nn.GRUCell or nn.ElmanCell, got {type(cell).__name__}")
    if isinstance(cell, nn.GRUCell) and not cell.reset_after:
        raise ValueError("cell: expected a GRU with reset_after=True, as Flax's is, got reset_after=False")
    extra = cell.weights().keys() - {"w_x", "w_h", "b", "b_h", "b_hn"}
    if extra or "b" not in cell.weights():
        got = f"one with {', '.join(sorted(extra))}" if extra else "use_bias=False"
        raise ValueError(f"cell: expected a cell that Flax has, got {got}")


def _kind(names: Iterable[str]) -> Kind:
    denses = {name.split(".")[0] for name in names}
    return "nnx_optimized" if denses & {"dense_i", "dense_h"} else "nnx" if "if_" in denses else "linen"


def _denses(cell: nn.RecurrentCell, kind: Kind) -> list[Dense]:
    """The Dense layers of Flax's version of this cell; an LSTM's bias is with w_h, that of the others with w_x."""
    gates = cell.core_cell.gates
    is_lstm, all_gates = "f" in gates, tuple(range(len(gates)))
    if kind == "nnx_optimized" or (kind == "nnx" and not is_lstm):
        return [Dense("dense_i", "w_x", all_gates, not is_lstm), Dense("dense_h", "w_h", all_gates, is_lstm)]
    if len(gates) == 1:
        return [Dense("i", "w_x", all_gates, True), Dense("h", "w_h", all_gates, False)]
    denses = []
    for k, gate in enumerate(gates):
        trap = "_" if kind == "nnx" and gate == "f" else ""  # `if` is no attribute name in Python
        denses.append(Dense(f"i{gate}{trap}", "w_x", (k,), not is_lstm))
        denses.append(Dense(f"h{gate}", "w_h", (k,), is_lstm or gate == "n"))
    return denses


def _shapes(cell: nn.RecurrentCell, dense: Dense) -> dict[str, tuple[int, ...]]:
    columns = len(dense.gates) * cell.hidden_features
    rows = cell.in_features if dense.side == "w_x" else cell.hidden_features
    kernel: dict[str, tuple[int, ...]] = {f"{dense.name}.kernel": (rows, columns)}
    return kernel | ({f"{dense.name}.bias": (columns,)} if dense.has_bias else {})


def _ours(cell: nn.RecurrentCell, theirs: Weights, denses: list[Dense]) -> Weights:
    gates, hidden = cell.core_cell.num_gates, cell.hidden_features
    dtype = np.result_type(*theirs.values())
    matrices = {
        "w_x": np.zeros((cell.in_features, gates, hidden), dtype),
        "w_h": np.zeros((hidden, gates, hidden), dtype),
    }
    biases = {side: np.zeros((gates, hidden), dtype) for side in matrices}
    for name, side, columns, has_bias in denses:
        kernel = theirs[f"{name}.kernel"]
        matrices[side][:, columns] = kernel.reshape(len(kernel), len(columns), hidden)
        if has_bias:
            biases[side][list(columns)] = theirs[f"{name}.bias"].reshape(len(columns), hidden)
    return matrices | split_bias(cell, biases["w_x"], biases["w_h"])


def _theirs(ours: Weights, denses: list[Dense]) -> dict[str, Any]:
    b, b_h = both_biases(ours)
    places = {side: {k for d in denses if d.side == side and d.has_bias for k in d.gates} for side in ("w_x", "w_h")}
    is_gru, both = len(b) == 3, places["w_x"] & places["w_h"]
    if is_gru and N_GATE not in both and np.any(b_h[N_GATE]):
        raise ValueError("cell: expected a b_hn of zeros, as this Flax cell has no place for it, got other numbers")
    apart = np.isin(np.arange(len(b)), list(both))[:, None]  # two places, two biases; elsewhere their sum
    biases = {"w_x": np.where(apart, b, b + b_h), "w_h": np.where(apart, b_h, b + b_h)}
    nested = {}
    for name, side, columns, has_bias in denses:
        kernel = ours[side][:, columns]
        nested[name] = {"kernel": kernel.reshape(len(kernel), -1)}
        if has_bias:
            nested[name]["bias"] = biases[side][list(columns)].reshape(-1)
    return nested


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
