"""Long sequences: chunks that are run again in the reverse pass, and truncated backpropagation through time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.control import Fixed, Loop, Steps
from jaxrnn.core.parameters import Params, State

Run = Callable[[Loop, Array, Params, State, Fixed, Steps], tuple[Array | State, State]]


def in_chunks(
    run: Run, chunk: int, loop: Loop, x: Array, params: Params, state: State, fixed: Fixed, steps: Steps
) -> tuple[Array | State, State]:
    """`run`, a chunk of steps at a time, keeping for the reverse pass only the state between the chunks."""
    time, batch = x.shape[:2]
    num_chunks = -(-time // chunk)
    padding = num_chunks * chunk - time
    if padding and steps.mask is None:
        steps = steps._replace(mask=jnp.ones((time, batch), bool))

    def split(a: Array) -> Array:
        a = jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1))  # the mask with false: nothing happens there
        return a.reshape(num_chunks, chunk, *a.shape[1:])

    @partial(jax.checkpoint, prevent_cse=False)  # inside a scan there is nothing to merge with
    def body(state: State, inputs: tuple[Array, Steps]) -> tuple[State, Array | State]:
        outputs, state = run(loop, inputs[0], params, state, fixed, inputs[1])
        return state, outputs

    last, outputs = jax.lax.scan(body, state, jax.tree.map(split, (x, steps)), reverse=loop.reverse)
    return jax.tree.map(lambda a: a.reshape(num_chunks * chunk, *a.shape[2:])[:time], outputs), last


def truncated_value_and_grad(
    loss: Callable[[Any, Any, Any], tuple[Array, Any]], *, window: int
) -> Callable[[Any, Any, Any], tuple[tuple[Array, Any], Any]]:
    """Truncated backpropagation through time: the state is carried through a sequence, gradients only `window` steps.

    Memory is that of one window, whatever the length of the sequence.

    Args:
      loss: `(parameters, state, inputs) -> (loss, state)`, a sum over the window's steps or a mean over them, with
        every leaf of `inputs` `[window, ...]`.
      window: steps after which gradients stop.

    Returns:
      A function `(parameters, state, inputs) -> ((loss, state), gradients)` of the same arguments over a whole
      sequence, `[time, ...]`, time a multiple of the window: the mean of the windows' losses, the last state, which
      carries no gradient, and the gradient of that mean.

    Raises:
      ValueError: the window is below 1, or the time is no multiple of it.

    References:
      Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490.

    Example:
      >>> import jax.numpy as jnp
      >>> def loss(w, state, x):
      ...     state = state + w * x.sum()
      ...     return state**2, state
      >>> (value, state), gradient = truncated_value_and_grad(loss, window=2)(2.0, 0.0, jnp.ones(4))
      >>> float(value), float(state), float(gradient)  # of 16 and 64; 2 · 4 · 2 and 2 · 8 · 2
      (40.0, 8.0, 24.0)
    """
    if window < 1:
        raise ValueError(f"window: expected at least 1, got {window}")

    def over_windows(parameters: Any, state: Any, inputs: Any) -> tuple[tuple[Array, Any], Any]:
        times = {leaf.shape[0] for leaf in jax.tree.leaves(inputs)}
        if len(times) != 1 or min(times) % window or not min(times):
            got = ", ".join(str(time) for time in sorted(times))
            raise ValueError(f"inputs: expected a time that is a multiple of window={window}, got {got}")
        num_windows = min(times) // window

        def body(carry: tuple[Any, Array, Any], inputs: Any) -> tuple[tuple[Any, Array, Any], None]:
            state, total, gradients = carry
            (value, state), new = jax.value_and_grad(loss, has_aux=True)(parameters, state, inputs)
            return (state, total + value, jax.tree.map(jnp.add, gradients, new)), None

        windows = jax.tree.map(lambda a: jnp.reshape(a, (num_windows, window, *a.shape[1:])), inputs)
        first = jax.tree.map(lambda a: a[0], windows)
        shapes = jax.eval_shape(loss, parameters, state, first)
        state = jax.tree.map(lambda a, like: jnp.asarray(a, like.dtype), state, shapes[1])
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        (state, total, gradients), _ = jax.lax.scan(body, (state, jnp.zeros((), shapes[0].dtype), zeros), windows)
        mean = jax.tree.map(lambda a: a / num_windows, (total, gradients))
        return (mean[0], jax.lax.stop_gradient(state)), mean[1]

    return over_windows
