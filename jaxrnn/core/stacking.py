"""Layers on top of each other: the one loop that stacks them, whoever runs a layer."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax.numpy as jnp
from jax import Array

Result = TypeVar("Result")
Connect = Callable[[int, Array, Sequence[Array]], Array]


def side_by_side(layer: int, x: Array, outputs: Sequence[Array]) -> Array:
    """The outputs of a layer's directions as one array, `[..., directions * hidden]`."""
    return jnp.concatenate(outputs, axis=-1)


def stack_layers(
    num_layers: int,
    x: Array,
    run: Callable[[int, Array], tuple[Sequence[Array], Result]],
    connect: Connect = side_by_side,
) -> tuple[Array, list[Result]]:
    """Runs layers, each on what the one below gives.

    Args:
      num_layers: Layers in depth.
      x: Input of the first layer.
      run: `(layer, x) -> (outputs, result)`: one layer on its input; the outputs of each of its directions, and
        anything else that is wanted of it.
      connect: `(layer, x, outputs) -> x`: the input of the next layer, or after the last the output of all, from a
        layer's input and the outputs of its directions.

    Returns:
      The output of all, and the results of the layers.

    Example:
      >>> double = lambda layer, x: ([2 * x], layer)
      >>> y, layers = stack_layers(3, jnp.ones(1), double)
      >>> float(y[0]), layers
      (8.0, [0, 1, 2])
    """
    results = []
    for layer in range(num_layers):
        outputs, result = run(layer, x)
        x = connect(layer, x, outputs)
        results.append(result)
    return x, results
