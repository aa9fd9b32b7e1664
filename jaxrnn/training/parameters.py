"""A model taken apart: its parameters by name, what each of them is, and what rebuilds the model from them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import nnx
from jax import Array

Parameters = dict[str, Array]


class Kind(NamedTuple):
    """What a parameter is, for weight decay and for dividing it over devices.

    Attributes:
      is_matrix: Whether it is the matrix of a product, which weight decay acts on.
      is_embedding: Whether its rows are vectors that are looked up.
      hidden_axis: Whether its last axis is the hidden units of a recurrent layer.
    """

    is_matrix: bool = False
    is_embedding: bool = False
    hidden_axis: bool = False


class SplitModel(NamedTuple):
    """A model taken apart.

    Attributes:
      parameters: What is trained, under names such as "layer.cells.0.w_x".
      kinds: What each of them is.
      rest: Every other variable, such as tables that are not trained.
      merge: Parameters and rest to the model.
    """

    parameters: Parameters
    kinds: Mapping[str, Kind]
    rest: Any
    merge: Callable[[Parameters, Any], Any]

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(each.size for each in self.parameters.values())


def split_model(model: nnx.Module) -> SplitModel:
    """Takes a model apart. Its parameters may be shapes alone, as `nnx.eval_shape` gives them."""
    kinds = _kinds(model)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    flat = {_name(path): (path, param) for path, param in nnx.to_flat_state(params)}

    def merge(parameters: Parameters, rest: Any) -> Any:
        state = [(path, param.replace(parameters[name])) for name, (path, param) in flat.items()]
        return nnx.merge(graph, nnx.from_flat_state(state), rest)

    parameters = {name: param.get_value() for name, (_, param) in flat.items()}
    return SplitModel(parameters, {name: kinds.get(name, Kind()) for name in parameters}, rest, merge)


def _kinds(model: nnx.Module) -> dict[str, Kind]:
    """What each module says of its own parameters; what no module speaks for is neither divided nor decayed.

    Flax's own modules are known here. Any other, such as a recurrent cell, lists names in the attributes `matrices` and
    `by_hidden_units`.
    """
    kinds: dict[str, Kind] = {}
    for path, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Embed):
            kinds[_name((*path, "embedding"))] = Kind(is_embedding=True)
        elif isinstance(module, nnx.Linear | nnx.LinearGeneral | nnx.Conv | nnx.Einsum):
            kinds[_name((*path, "kernel"))] = Kind(is_matrix=True)
        else:
            matrices, by_units = (getattr(module, name, ()) for name in ("matrices", "by_hidden_units"))
            for name in {*matrices, *by_units}:
                kinds[_name((*path, name))] = Kind(is_matrix=name in matrices, hidden_axis=name in by_units)
    return kinds


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))
