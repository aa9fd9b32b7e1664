"""Which device holds what: batches divided by rows, parameters copied or divided.

The devices form a grid, `data` by `model`. A batch's rows are divided along `data`; the devices along `model` hold one
copy of the parameters between them. JAX's partitioner puts in the communication: a step is written for one device.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrnn.data import Batch
from jaxrnn.tasks import Rows

Tree = TypeVar("Tree")
Divided = Literal["embedding", "hidden", "both"]

HIDDEN = ("w_x", "w_h", "b", "b_h", "b_hn")  # parameters whose last axis is the hidden units


class Devices(NamedTuple):
    """The devices of a run, in a grid."""

    mesh: Mesh
    divide: Divided = "embedding"  # what the devices along `model` divide between them

    @classmethod
    def of(cls, per_process: int | None = None, *, model_parallel: int = 1, divide: Divided = "embedding") -> "Devices":
        """Arranges the devices of all hosts.

        Args:
          per_process: how many of each host; None: all.
          model_parallel: neighbours that hold one copy of the parameters between them.
          divide: the embedding by features, the recurrent layers by hidden units, or both.

        Raises:
          ValueError: a host has fewer devices, or no multiple of `model_parallel`.
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
        places = self.mesh.shape["data"]
        a_host = -(-batch_size // places) * places // jax.process_count()
        return range(jax.process_index() * a_host, (jax.process_index() + 1) * a_host)

    def put_rows(self, batch: Batch) -> Rows:
        """The rows of the whole batch on all devices, and filler after them, from those that each host built."""
        by_rows = NamedSharding(self.mesh, PartitionSpec("data"))
        folds = np.zeros_like(batch.lengths) if batch.folds is None else batch.folds
        parts = (batch.tokens, batch.lengths, batch.labels, batch.weights, folds)
        return Rows(*(jax.make_array_from_process_local_data(by_rows, part) for part in parts))

    def put(self, tree: Tree) -> Tree:
        """Parameters, or a state made of trees of them, each where it belongs."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.device_put(leaf, self._sharding(path, leaf)), tree
        )

    def keep(self, tree: Tree) -> Tree:
        """Inside a compiled function: what `put` did, for its results."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.lax.with_sharding_constraint(leaf, self._sharding(path, leaf)), tree
        )

    def copied(self, tree: Tree) -> Tree:
        """Inside a compiled function: a copy for every device."""
        whole = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, whole), tree)

    def _sharding(self, path: Sequence[Any], leaf: Array) -> NamedSharding:
        # An optimiser keeps its moments under the parameters' own names: the last key of a dictionary decides.
        keys = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
        name = str(keys[-1]).rpartition(".")[2] if keys else ""
        by_features = name == "embedding" and self.divide != "hidden"
        by_units = name in HIDDEN and self.divide != "embedding"
        axes = [None] * (leaf.ndim - 1) + ["model"] if by_features or by_units else []
        return NamedSharding(self.mesh, PartitionSpec(*axes))
