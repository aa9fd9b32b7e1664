"""Weights from and to PyTorch, by the names of its `state_dict`.

Recurrent layers: `weight_ih_l{layer}`, `weight_hh_l{layer}`, `bias_ih_l{layer}`, `bias_hh_l{layer}`, with a projection
`weight_hr_l{layer}`, and all with `_reverse` after those of the backward direction. A network of an embedding, a
recurrent layer and a linear head, such as the text classifier without extras, has the names of the usual PyTorch
program: `embedding`, the recurrent layer under its name (`lstm`, `gru` or `rnn`), and `fc`. torch itself is never
imported, and no file is opened.
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


@runtime_checkable
class Network(Protocol):
    """A module whose weights are an embedding, a recurrent layer and a linear head."""

    embedding: nnx.Embed
    layer: nn.RecurrentLayer
    head: nnx.Linear


def from_torch(module: nn.RecurrentLayer | Network, state_dict: Mapping[str, Any]) -> None:
    """Loads the weights of a PyTorch module into ours, in place; if anything is wrong, nothing changes.

    A state dict says nothing of a `torch.nn.RNN`'s nonlinearity, nor of dropout: those are the module's own.

    Args:
      module: `nn.LSTM`, `nn.GRU`, `nn.Elman`, or a network of the same sizes, such as a text classifier.
      state_dict: names to PyTorch tensors, NumPy or JAX arrays; they are cast to the dtype of the module's weights.
        To read a file, `torch.load(path, weights_only=True)`. All biases of the recurrent layer may be absent
        (`bias=False`), and are zero then. A network's recurrent layer may be called `rnn` whatever its cell.

    Raises:
      ValueError: a key is missing, unexpected, or of another shape; or the module has no PyTorch equivalent.

    Example:
      >>> import numpy as np
      >>> from flax import nnx
      >>> gru = nn.GRU(2, 3, rngs=nnx.Rngs(0))
      >>> weights = {"weight_ih_l0": np.ones((9, 2)), "weight_hh_l0": np.ones((9, 3))}
      >>> from_torch(gru, weights)  # no biases at all: bias=False
      >>> float(gru.cells[0].w_x[...].sum()), float(gru.cells[0].b[...].sum())
      (18.0, 0.0)
    """
    reader = StateDictReader(state_dict)
    if isinstance(module, nn.RecurrentLayer):
        loaded = _read_layer(module, reader, prefix="")
    else:
        loaded = _read_network(module, reader)
    reader.finish()
    assign(loaded)


def to_torch(module: nn.RecurrentLayer | Network) -> dict[str, np.ndarray]:
    """The weights under PyTorch's names, in the order of its own `state_dict`.

    Without `double_bias`, our one bias becomes `bias_ih`, and `bias_hh` is zero (but for the GRU's n gate). bfloat16,
    which PyTorch does not take from NumPy, becomes float32. On the other side:
    `{k: torch.from_numpy(v) for k, v in ...}`.

    Args:
      module: `nn.LSTM`, `nn.GRU`, `nn.Elman`, or a network such as a text classifier.

    Returns:
      Fresh arrays, which share no memory with the module.

    Raises:
      ValueError: the module has no PyTorch equivalent.

    Example:
      >>> from flax import nnx
      >>> state_dict = to_torch(nn.LSTM(2, 3, rngs=nnx.Rngs(0)))
      >>> {name: array.shape for name, array in state_dict.items() if name.startswith("weight")}
      {'weight_ih_l0': (12, 2), 'weight_hh_l0': (12, 3)}
    """
    if isinstance(module, nn.RecurrentLayer):
        return _write_layer(module, prefix="")
    _check_network(module)
    state_dict = {
        "embedding.weight": export(module.embedding.embedding),
        **_write_layer(module.layer, prefix=f"{_layer_name(module.layer)}."),
        "fc.weight": np.ascontiguousarray(export(module.head.kernel).T),
    }
    if module.head.bias is not None:
        state_dict["fc.bias"] = export(module.head.bias)
    return state_dict


def _read_network(module: Network, reader: StateDictReader) -> Loaded:
    _check_network(module)
    embedding, head = module.embedding.embedding, module.head
    name = _layer_name(module.layer)
    if not any(key.startswith(f"{name}.") for key in reader.names()) and any(
        key.startswith("rnn.") for key in reader.names()
    ):
        name = "rnn"
    loaded: Loaded = [
        (embedding, reader.take("embedding.weight", embedding.shape)),
        *_read_layer(module.layer, reader, prefix=f"{name}."),
        (head.kernel, reader.take("fc.weight", head.kernel.shape[::-1]).T),
    ]
    if head.bias is not None:
        loaded.append((head.bias, reader.take("fc.bias", head.bias.shape)))
    return loaded


def _read_layer(layer: nn.RecurrentLayer, reader: StateDictReader, *, prefix: str) -> Loaded:
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


def _write_layer(layer: nn.RecurrentLayer, *, prefix: str) -> dict[str, np.ndarray]:
    _check_layer(layer)
    state_dict = {}
    for suffix, cell in named_cells(layer):
        theirs = torch_from_ours(cell, export_cell(cell))
        state_dict |= {f"{prefix}{stem}_{suffix}": value for stem, value in theirs.items()}
    return state_dict


def _check_network(module: Network) -> None:
    parts, width = set(nnx.state(module, nnx.Param)), module.layer.cells[0].in_features
    if parts != {"embedding", "layer", "head"} or width != module.embedding.features:
        raise ValueError(
            "module: expected a network of embedding, recurrent layer and head alone, as the usual PyTorch program is, "
            f"got one with the weights {', '.join(sorted(map(str, parts)))} and {width} inputs of the layer for "
            f"{module.embedding.features} features of the embedding"
        )


def _check_layer(layer: nn.RecurrentLayer) -> None:
    check_plain(layer, "PyTorch", projection=True)
    if layer.cells[0].core_cell.name == "gru_reset_before":
        raise ValueError("module: expected a GRU with reset_after=True, as PyTorch's is, got reset_after=False")
    widths = [cell.hidden_features for cell in layer.cells]
    if len(set(widths)) > 1:
        raise ValueError(f"module: expected layers of one width, as PyTorch's are, got {widths}")


def _check_projection(layer: nn.RecurrentLayer, reader: StateDictReader, prefix: str) -> None:
    stem = f"{prefix}weight_hr_"
    expected, got = "w_p" in layer.cells[0].weights(), any(name.startswith(stem) for name in reader.names())
    if expected and not got:
        raise ValueError(f"state_dict: expected {stem}l0 and so on for the module's projection_features, got none")
    if got and not expected:
        raise ValueError(f"state_dict: expected no {stem}l0, as the module's projection_features is None, got some")


def _layer_name(layer: nn.RecurrentLayer) -> str:
    return "lstm" if isinstance(layer, nn.LSTM) else "gru" if isinstance(layer, nn.GRU) else "rnn"
