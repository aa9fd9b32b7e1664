"""What `shard_map` knows of arrays: the mesh axes that they vary over."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def varying_with(tree: Tree, arrays: Any) -> Tree:
    """The tree, known to `shard_map` to vary over every mesh axis that the arrays vary over; outside it, the tree.

    A loop's carry must have from its first step on the type it ends with, and zeros that were just made vary over none.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:  # not inside shard_map
        return tree
    # Adds a zero that depends on all arrays, as far as types go; nothing of it is left in the compiled program.
    leaves = jax.tree.leaves((tree, arrays))
    some = jnp.stack([jnp.where(False, leaf.ravel()[:1].sum(), 0) for leaf in leaves]).sum()
    return jax.tree.map(lambda part: part + jax.lax.stop_gradient(some).astype(part.dtype), tree)
