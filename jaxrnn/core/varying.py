"""The mesh axes that an array varies over, which `shard_map` keeps track of in its type."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxrnn.core.versions import get_abstract_mesh

Tree = TypeVar("Tree")


def varying_with(tree: Tree, arrays: Any) -> Tree:
    """The tree, typed for `shard_map` as varying over every mesh axis that the arrays vary over.

    A loop's carry must have the same type before its first step as after its last, and new zeros vary over no axis.
    Outside `shard_map` the tree is returned as it is.
    """
    if not get_abstract_mesh().manual_axes:  # not inside shard_map
        return tree
    # This adds a zero whose type depends on all arrays; XLA removes it from the compiled program.
    leaves = jax.tree.leaves((tree, arrays))
    some = jnp.stack([jnp.where(False, leaf.ravel()[:1].sum(), 0) for leaf in leaves]).sum()
    return jax.tree.map(lambda part: part + jax.lax.stop_gradient(some).astype(part.dtype), tree)
