"""Which device holds what: batches divided by rows, parameters copied or divided.

The devices form a grid, `data` by `model`. A batch's rows are divided along `data`; the devices along `model` hold one
copy of the parameters between them. JAX's partitioner inserts the communication, so a step is written for one device.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrnn.data import Batch
from jaxrnn.training.parameters import Kind

Tree = TypeVar("Tree")
Divided = Literal["embedding", "hidden", "both"]


class Devices(NamedTuple):
    """The devices of a run, in a grid.

    Attributes:
      mesh: The grid.
      divide: What the devices along `model` divide between them.
    """

    mesh: Mesh
    divide: Divided = "embedding"

    @classmethod
    def of(cls, per_process: int | None = None, *, model_parallel: int = 1, divide: Divided = "embedding") -> "Devices":
        """Arranges the devices of all hosts.

        Args:
          per_process: Devices that each host uses; None: all.
          model_parallel: Number of neighbours that hold one copy of the parameters between them.
          divide: The embedding by features, the recurrent layers by hidden units, or both.

        Raises:
          ValueError: A host has fewer devices, or a number that is no multiple of `model_parallel`.
        """
        hosts = [jax.local_devices(process_index=index) for index in range(jax.process_count())]
        fewest = min(map(len, hosts))
        count = fewest if per_process is None else per_process
        if count > fewest:
            raise ValueError(f"per_process: expected at most the {fewest} there are, got {per_process}")
        if count % model_parallel:
            raise ValueError(f"model_parallel: expected a divisor of the {count} devices used, got {model_parallel}")
        grid = np.array([host[:count] for host in hosts]).reshape(-1, model_parallel)
        return cls(Mesh(grid, ("data", "model"), axis_types=(AxisType.Auto,) * 2), divide)

    def rows(self, batch_size: int) -> range:
        """The rows of each batch that this host builds; the last may lie beyond it, to give every device the same."""
        num_places = self.mesh.shape["data"]
        rows_of_host = -(-batch_size // num_places) * num_places // jax.process_count()
        return range(jax.process_index() * rows_of_host, (jax.process_index() + 1) * rows_of_host)

    def put_batch(self, batch: Batch) -> tuple[dict[str, Any], Array]:
        """The arrays and weights of the whole batch on all devices, from the rows that each host built."""
        by_rows = self._by("data")
        return jax.tree.map(
            lambda part: jax.make_array_from_process_local_data(by_rows, part), (batch.arrays, batch.weights)
        )

    def put(self, tree: Tree, kinds: Mapping[str, Kind]) -> Tree:
        """Puts parameters, or what an optimiser keeps under their names, where they belong; the rest goes everywhere.

        Raises:
          ValueError: An axis that is to be divided is no multiple of the devices along `model`.
        """
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.device_put(leaf, self._sharding(path, leaf, kinds)), tree
        )

    def keep(self, tree: Tree, kinds: Mapping[str, Kind]) -> Tree:
        """Inside a compiled function: keeps its results where `put` has put them."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.lax.with_sharding_constraint(leaf, self._sharding(path, leaf, kinds)), tree
        )

    def put_carry(self, carry: Tree) -> Tree:
        """Puts arrays `[rows, ...]`, each device's rows on it where they can be divided evenly."""
        return jax.tree.map(lambda leaf: jax.device_put(leaf, self._by_rows(leaf)), carry)

    def keep_carry(self, carry: Tree) -> Tree:
        """Inside a compiled function: what `put_carry` did, for its results."""
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, self._by_rows(leaf)), carry)

    def copied(self, tree: Tree) -> Tree:
        """Inside a compiled function: a copy for every device."""
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, self._by()), tree)

    def _by(self, *axes: str | None) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def _by_rows(self, leaf: Array) -> NamedSharding:
        is_even = leaf.ndim > 0 and leaf.shape[0] % self.mesh.shape["data"] == 0
        return self._by("data") if is_even else self._by()

    def _sharding(self, path: Sequence[Any], leaf: Array, kinds: Mapping[str, Kind]) -> NamedSharding:
        # An optimiser keeps its moments under the parameters' own names: the last key of a dictionary decides.
        names = [str(entry.key) for entry in path if isinstance(entry, jax.tree_util.DictKey)]
        kind = kinds.get(names[-1], Kind()) if names else Kind()
        by_features = kind.is_embedding and self.divide != "hidden"
        by_units = kind.hidden_axis and self.divide != "embedding"
        if not (by_features or by_units):
            return self._by()
        if leaf.shape[-1] % self.mesh.shape["model"]:
            raise ValueError(
                f"model_parallel: expected a divisor of the {leaf.shape[-1]} features or hidden units of {names[-1]}, "
                f"got {self.mesh.shape['model']}"
            )
        return self._by(*[None] * (leaf.ndim - 1), "model")
