"""What a library becomes for a measurement, and how one is made of a JAX function."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Case


class Runner(NamedTuple):
    """One library at one case. Both passes return when their work is done."""

    forward: Callable[[], Any]
    train: Callable[[], Any]  # forward, and the gradients of weights and inputs
    outputs: Callable[[Any], np.ndarray]  # from what forward returned: [time, batch, directions * hidden]
    gradients: Callable[[Any], dict[str, np.ndarray]]  # from what train returned: of each cell's w_x and w_h, as ours
    compile_seconds: dict[str, float]  # of each pass; none where nothing is compiled


class Peer(NamedTuple):
    """A library, or one way of using it."""

    make: Callable[[Case], Runner]  # raises CannotServeError
    needs: str | None = None  # a package that may be absent


class CannotServeError(Exception):
    """The library has no such layer; the message says why."""


def jax_runner(
    case: Case,
    run: Callable[[Any, jax.Array, jax.Array | None], jax.Array],
    weights: Any,
    *,
    gradients: Callable[[Any], dict[str, np.ndarray]],
    batch_major: bool = False,
    compiler_options: dict[str, Any] | None = None,
) -> Runner:
    """Compiles both passes of `run(weights, x, lengths) -> y`.

    Args:
      case: shapes and lengths; without padding the lengths given are None.
      run: the library's own layer.
      weights: any tree of arrays.
      gradients: from a tree like `weights` to w_x and w_h of each cell.
      batch_major: whether x and y are `[batch, time, features]` in place of `[time, batch, features]`.
      compiler_options: of `jax.jit`.
    """
    leaves, tree = jax.tree.flatten(weights)  # a plain list: nothing but arrays is handled in a timed call
    x, d_y = (jnp.asarray(a.swapaxes(0, 1) if batch_major else a) for a in case.draw_inputs())
    lengths = None if case.lengths == "full" else jnp.asarray(case.draw_lengths())

    def forward(leaves: list, x: jax.Array, lengths: jax.Array | None) -> jax.Array:
        return run(jax.tree.unflatten(tree, leaves), x, lengths)

    def train(leaves: list, x: jax.Array, lengths: jax.Array | None, d_y: jax.Array) -> tuple:
        y, pull = jax.vjp(lambda leaves, x: forward(leaves, x, lengths), leaves, x)
        return y, pull(d_y.astype(y.dtype))

    compiled_forward, forward_seconds = _compiled(forward, compiler_options, leaves, x, lengths)
    compiled_train, train_seconds = _compiled(train, compiler_options, leaves, x, lengths, d_y)
    return Runner(
        forward=lambda: jax.block_until_ready(compiled_forward(leaves, x, lengths)),
        train=lambda: jax.block_until_ready(compiled_train(leaves, x, lengths, d_y)),
        outputs=lambda y: np.asarray(y.swapaxes(0, 1) if batch_major else y, np.float32),
        gradients=lambda result: gradients(jax.tree.unflatten(tree, result[1][0])),
        compile_seconds={"forward": forward_seconds, "train": train_seconds},
    )


def _compiled(function: Callable, options: dict[str, Any] | None, *arguments: Any) -> tuple[Callable, float]:
    start = time.perf_counter()
    compiled = jax.jit(function, compiler_options=options).lower(*arguments).compile()
    return compiled, time.perf_counter() - start
