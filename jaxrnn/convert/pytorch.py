"""Weights from and to PyTorch, by the names of its `state_dict`.

Recurrent layers have `weight_ih_l{layer}`, `weight_hh_l{layer}`, `bias_ih_l{layer}`, `bias_hh_l{layer}`, with a
projection `weight_hr_l{layer}`, and all with `_reverse` after those of the backward direction. A network of several
parts says by its method `torch_parts` which of them has which name in PyTorch. torch itself is never imported, and no
file is opened.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from flax import nnx

from jaxrnn import nn
from jaxrnn.convert.layout import (
    Loaded,
    assign,
    check_plain,
    export,
    export_cell,
    load_cell,
    named_cells,
    ours_from_torch,
    torch_from_ours,
    torch_shapes,
)
from jaxrnn.convert.reading import StateDictReader

Part = nn.RecurrentLayer | nnx.Embed | nnx.Linear


@runtime_checkable
class Network(Protocol):
    """A network of several parts, such as a classifier."""

    def torch_parts(self) -> Mapping[str, Part]:
        """The parts by their names in PyTorch, in its order; ValueError if the network has others."""
        ...


def from_torch(module: Part | Network, state_dict: Mapping[str, Any]) -> None:
    """Loads the weights of a PyTorch module into ours, in place; if anything is wrong, nothing changes.

    A state dict does not hold a `torch.nn.RNN`'s nonlinearity or any dropout: those are the module's own.

    Args:
      module: `nn.LSTM`, `nn.GRU` or `nn.Elman` of the same sizes, or a network with `torch_parts`, such as the text
        classifier.
      state_dict: Names to PyTorch tensors, NumPy or JAX arrays; they are cast to the dtype of the module's weights.
        To read a file, `torch.load(path, weights_only=True)`. All biases of a recurrent layer may be absent
        (`bias=False`), and are zero then. The recurrent layer of a network may be called `rnn` whatever its cell.

    Raises:
      ValueError: A key is missing, unexpected, or of another shape; or the module has no PyTorch equivalent.

    Example:
      >>> import numpy as np
      >>> gru = nn.GRU(2, 3, rngs=0)
      >>> weights = {"weight_ih_l0": np.ones((9, 2)), "weight_hh_l0": np.ones((9, 3))}
      >>> from_torch(gru, weights)  # no biases at all: bias=False
      >>> float(gru.cells[0].w_x[...].sum()), float(gru.cells[0].b[...].sum())
      (18.0, 0.0)
    """
    reader = StateDictReader(state_dict)
    if isinstance(module, Network):
        loaded = [pair for name, part in module.torch_parts().items() for pair in _read(part, reader, name)]
    else:
        loaded = _read_layer(module, reader, prefix="")
    reader.finish()
    assign(loaded)


def to_torch(module: Part | Network) -> dict[str, np.ndarray]:
    """The weights under PyTorch's names, in the order of its own `state_dict`.

    Without `double_bias`, our one bias becomes `bias_ih`, and `bias_hh` is zero (but for the GRU's n gate). bfloat16,
    which PyTorch does not take from NumPy, becomes float32. In PyTorch, load the result by
    `{k: torch.from_numpy(v) for k, v in ...}`.

    Args:
      module: As in `from_torch`.

    Returns:
      Fresh arrays, which share no memory with the module.

    Raises:
      ValueError: The module has no PyTorch equivalent.

    Example:
      >>> state_dict = to_torch(nn.LSTM(2, 3, rngs=0))
      >>> {name: array.shape for name, array in state_dict.items() if name.startswith("weight")}
      {'weight_ih_l0': (12, 2), 'weight_hh_l0': (12, 3)}
    """
    if not isinstance(module, Network):
        return _write_layer(module, prefix="")
    parts = module.torch_parts().items()
    return {key: array for name, part in parts for key, array in _write(part, name).items()}


def _read(part: Part, reader: StateDictReader, name: str) -> Loaded:
    if isinstance(part, nnx.Embed):
        return [(part.embedding, reader.take(f"{name}.weight", part.embedding.shape))]
    if isinstance(part, nnx.Linear):
        loaded: Loaded = [(part.kernel, reader.take(f"{name}.weight", part.kernel.shape[::-1]).T)]
        if part.bias is not None:
            loaded.append((part.bias, reader.take(f"{name}.bias", part.bias.shape)))
        return loaded
    keys = reader.names()
    is_called_rnn = not any(k.startswith(f"{name}.") for k in keys) and any(k.startswith("rnn.") for k in keys)
    return _read_layer(part, reader, prefix="rnn." if is_called_rnn else f"{name}.")


def _write(part: Part, name: str) -> dict[str, np.ndarray]:
    if isinstance(part, nnx.Embed):
        return {f"{name}.weight": export(part.embedding)}
    if isinstance(part, nnx.Linear):
        weight = {f"{name}.weight": np.ascontiguousarray(export(part.kernel).T)}
        return weight if part.bias is None else weight | {f"{name}.bias": export(part.bias)}
    return _write_layer(part, prefix=f"{name}.")


def _read_layer(layer: Any, reader: StateDictReader, *, prefix: str) -> Loaded:
    _check_layer(layer)
    _check_projection(layer, reader, prefix)
    has_bias = any(name.startswith(f"{prefix}bias_") for name in reader.names())
    loaded: Loaded = []
    for suffix, cell in named_cells(layer):
        theirs = {}
        for stem, shape in torch_shapes(cell).items():
            absent = stem.startswith("bias") and not has_bias
            name = f"{prefix}{stem}_{suffix}"
            theirs[stem] = np.zeros(shape, np.float32) if absent else reader.take(name, shape)
        loaded += load_cell(cell, ours_from_torch(cell, theirs))
    return loaded


def _write_layer(layer: Any, *, prefix: str) -> dict[str, np.ndarray]:
    _check_layer(layer)
    state_dict = {}
    for suffix, cell in named_cells(layer):
        theirs = torch_from_ours(cell, export_cell(cell))
        state_dict |= {f"{prefix}{stem}_{suffix}": value for stem, value in theirs.items()}
    return state_dict


def _check_layer(layer: nn.RecurrentLayer) -> None:
    check_plain(layer, "PyTorch", projection=True)
    if isinstance(layer.cells[0], nn.GRUCell) and not layer.cells[0].reset_after:
        raise ValueError("module: expected a GRU with reset_after=True, as PyTorch's is, got reset_after=False")
    widths = [cell.hidden_features for cell in layer.cells]
    if len(set(widths)) > 1:
        raise ValueError(f"module: expected layers of one width, as PyTorch's are, got {widths}")


def _check_projection(layer: Any, reader: StateDictReader, prefix: str) -> None:
    stem = f"{prefix}weight_hr_"
    expected, got = "w_p" in layer.cells[0].weights(), any(name.startswith(stem) for name in reader.names())
    if expected and not got:
        raise ValueError(f"state_dict: expected {stem}l0 and so on for the module's projection_features, got none")
    if got and not expected:
        raise ValueError(f"state_dict: expected no {stem}l0, as the module's projection_features is None, got some")
