"""Weights of one cell in other layouts, and the functions that all conversions share.

PyTorch stacks the gates in the rows of a matrix, weight_ih [gates·hidden, features], Keras in the columns, kernel
[features, gates·hidden]; ours have a gate axis, w_x [features, gates, hidden]. All agree on the LSTM's order of gates,
i f g o; the GRU's is r z n here and in PyTorch and Flax, z r n in Keras.

PyTorch has two biases, called b and b_h here. They add up wherever both enter the same sum, so a cell without
`double_bias` keeps one, b. Only the recurrent bias of the GRU's n gate, inside r ⊙ (W_hn h + b_hn), stays apart.
"""

from collections.abc import Iterator

import jax
import numpy as np
from flax import nnx

from jaxrnn import nn
from jaxrnn.nn.cells import N_GATE

Weights = dict[str, np.ndarray]
Loaded = list[tuple[nnx.Param, np.ndarray]]


def assign(loaded: Loaded) -> None:
    """Puts arrays into parameters, in the parameters' dtype and place; either all or, on an error, none."""
    new = [jax.device_put(value.astype(param.dtype), param[...].sharding) for param, value in loaded]
    for (param, _), value in zip(loaded, new, strict=True):  # nothing can fail any more
        param[...] = value


def load_cell(cell: nn.RecurrentCell, weights: Weights) -> Loaded:
    """Pairs a cell's parameters with arrays of the same names."""
    params = cell.weights()
    assert params.keys() == weights.keys(), (params.keys(), weights.keys())
    return [(param, weights[name]) for name, param in params.items()]


def export_cell(cell: nn.RecurrentCell) -> Weights:
    """A cell's parameters by name, as fresh arrays."""
    return {name: export(param) for name, param in cell.weights().items()}


def export(param: nnx.Param) -> np.ndarray:
    """A fresh array; bfloat16, which few take from NumPy, becomes float32."""
    array = np.array(param[...])
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def check_plain(layer: nn.RecurrentLayer, framework: str, *, projection: bool = False, merges: bool = False) -> None:
    """ValueError if the layer has something that the other framework does not have."""
    if not isinstance(layer, nn.LSTM | nn.GRU | nn.Elman):
        raise ValueError(f"module: expected a recurrent layer, nn.LSTM, nn.GRU or nn.Elman, got {type(layer).__name__}")
    names = {name for cell in layer.cells for name in cell.weights()}
    for present, what in (
        (layer.connections != "plain", f"connections={layer.connections!r}"),
        (layer.merge != "concat" and layer.num_directions == 2 and not merges, f"merge={layer.merge!r}"),
        ("peephole" in names, "peephole=True"),
        ("norm_x" in names, "layer_norm=True"),
        ("w_p" in names and not projection, "projection_features"),
        (any(cell.learn_state for cell in layer.cells), "learn_state=True"),
        (any(part.rate for part in layer.regularization.zoneout), "zoneout_rate"),  # acts at evaluation too
    ):
        if present:
            raise ValueError(f"module: expected a layer that {framework} has, got {what}")


def named_cells(layer: nn.RecurrentLayer) -> Iterator[tuple[str, nn.RecurrentCell]]:
    """The cells with the end of their names in PyTorch, in its order: l0, l0_reverse, l1, ..."""
    for k, cell in enumerate(layer.cells):
        depth, direction = divmod(k, layer.num_directions)
        yield f"l{depth}{'_reverse' if direction else ''}", cell


def split_bias(cell: nn.RecurrentCell, b: np.ndarray, b_h: np.ndarray) -> Weights:
    """The cell's biases by name, from an input's and a recurrent one, each `[gates, hidden]`."""
    names = cell.weights()
    if "b" not in names:
        return {}
    if "b_h" in names:
        return {"b": b, "b_h": b_h}
    if "b_hn" not in names:
        return {"b": b + b_h}
    merged = b + b_h
    merged[N_GATE] = b[N_GATE]
    return {"b": merged, "b_hn": b_h[N_GATE]}


def both_biases(ours: Weights) -> tuple[np.ndarray, np.ndarray]:
    """An input's and a recurrent bias, each `[gates, hidden]`, from a cell's biases by name."""
    b_h = ours["b_h"] if "b_h" in ours else np.zeros_like(ours["b"])
    if "b_hn" in ours:
        b_h[N_GATE] = ours["b_hn"]
    return ours["b"], b_h


def torch_shapes(cell: nn.RecurrentCell) -> dict[str, tuple[int, ...]]:
    """The arrays PyTorch's version of this cell has, by the stem of their names there, with their shapes."""
    rows = cell.core_cell.num_gates * cell.hidden_features
    names = cell.weights()
    return {
        "weight_ih": (rows, cell.in_features),
        "weight_hh": (rows, cell.out_features),
        **({"bias_ih": (rows,), "bias_hh": (rows,)} if "b" in names else {}),
        **({"weight_hr": (cell.out_features, cell.hidden_features)} if "w_p" in names else {}),
    }


def ours_from_torch(cell: nn.RecurrentCell, theirs: Weights) -> Weights:
    """Our weights by name, from PyTorch's arrays by stem."""
    gates, hidden = cell.core_cell.num_gates, cell.hidden_features
    ours = {
        "w_x": theirs["weight_ih"].T.reshape(-1, gates, hidden),
        "w_h": theirs["weight_hh"].T.reshape(-1, gates, hidden),
    }
    if "bias_ih" in theirs:
        b, b_h = (theirs[name].reshape(gates, hidden) for name in ("bias_ih", "bias_hh"))
        ours |= split_bias(cell, b, b_h)
    return ours | ({"w_p": theirs["weight_hr"].T} if "weight_hr" in theirs else {})


def torch_from_ours(cell: nn.RecurrentCell, ours: Weights) -> Weights:
    """PyTorch's arrays by stem: b goes to `bias_ih`; without b_h, `bias_hh` is zero but for the GRU's b_hn."""
    rows = cell.core_cell.num_gates * cell.hidden_features
    theirs = {
        "weight_ih": np.ascontiguousarray(ours["w_x"].reshape(-1, rows).T),
        "weight_hh": np.ascontiguousarray(ours["w_h"].reshape(-1, rows).T),
    }
    if "b" in ours:
        b, b_h = both_biases(ours)
        theirs |= {"bias_ih": b.reshape(rows), "bias_hh": b_h.reshape(rows)}
    return theirs | ({"weight_hr": np.ascontiguousarray(ours["w_p"].T)} if "w_p" in ours else {})
