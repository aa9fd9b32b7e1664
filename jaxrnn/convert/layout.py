"""The layouts of one direction of one layer: PyTorch's four arrays, and our parameters.

PyTorch stacks the gates in the rows of a matrix, weight_ih [gates·hidden, features]; ours have a gate axis, w_x
[features, gates, hidden]. It has two biases, b and b_h here. They add up wherever both enter the same sum, so that a
cell without `double_bias` keeps one, b: only the recurrent bias of the GRU's n gate, inside r ⊙ (W_hn h + b_hn), has a
place of its own. The gate orders agree.
"""

from typing import NamedTuple

import numpy as np

from jaxrnn.nn import RecurrentCell

N_GATE = 2  # of the GRU's r, z, n


class TorchWeights(NamedTuple):
    """One direction of one layer in PyTorch's layout; a field is the stem of its name there, `weight_ih_l0`."""

    weight_ih: np.ndarray  # [gates·hidden, features]
    weight_hh: np.ndarray  # [gates·hidden, hidden]
    bias_ih: np.ndarray  # [gates·hidden]
    bias_hh: np.ndarray  # [gates·hidden]


def torch_shapes(cell: RecurrentCell) -> dict[str, tuple[int, ...]]:
    """The shape PyTorch's version of this cell has for each of the `TorchWeights`."""
    rows = cell.core_cell.num_gates * cell.hidden_features
    return dict(
        zip(
            TorchWeights._fields,
            [(rows, cell.in_features), (rows, cell.hidden_features), (rows,), (rows,)],
            strict=True,
        )
    )


def ours_from_torch(cell: RecurrentCell, weights: TorchWeights) -> dict[str, np.ndarray]:
    """Our parameters by name: w_x `[D, G, H]`, w_h `[H, G, H]`, b and perhaps b_h `[G, H]`, or the GRU's b_hn `[H]`."""
    gates, hidden = cell.core_cell.num_gates, cell.hidden_features
    bias_ih, bias_hh = (bias.reshape(gates, hidden) for bias in (weights.bias_ih, weights.bias_hh))
    ours = {
        "w_x": weights.weight_ih.T.reshape(-1, gates, hidden),
        "w_h": weights.weight_hh.T.reshape(-1, gates, hidden),
    }
    if cell.b_h is not None:
        return ours | {"b": bias_ih, "b_h": bias_hh}
    ours["b"] = bias_ih + bias_hh
    if cell.core_cell.name == "gru":
        ours["b"][N_GATE] = bias_ih[N_GATE]
        ours["b_hn"] = bias_hh[N_GATE]
    return ours


def torch_from_ours(cell: RecurrentCell, ours: dict[str, np.ndarray]) -> TorchWeights:
    """PyTorch's arrays: b goes to `bias_ih`; without b_h, `bias_hh` is zero but for the GRU's b_hn."""
    bias_hh = ours["b_h"] if cell.b_h is not None else np.zeros_like(ours["b"])
    if "b_hn" in ours:
        bias_hh[N_GATE] = ours["b_hn"]
    rows = bias_hh.size
    return TorchWeights(
        weight_ih=np.ascontiguousarray(ours["w_x"].reshape(-1, rows).T),
        weight_hh=np.ascontiguousarray(ours["w_h"].reshape(-1, rows).T),
        bias_ih=ours["b"].reshape(rows),
        bias_hh=bias_hh.reshape(rows),
    )
