"""Long sequences in chunks of steps, each of which is run again in the reverse pass."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.control import Direction, Results, Steps
from jaxrnn.core.parameters import State

Run = Callable[[Array, Sequence[Direction]], Sequence[Results]]


def in_chunks(run: Run, chunk: int, x: Array, direction: Direction) -> Results:
    """Runs a direction `chunk` steps at a time, keeping for the reverse pass only the states between the chunks."""
    time, batch = x.shape[:2]
    steps = direction.steps
    num_chunks = -(-time // chunk)
    padding = num_chunks * chunk - time
    if padding and steps.mask is None:
        steps = steps._replace(mask=jnp.ones((time, batch), bool))

    def split(a: Array) -> Array:
        a = jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1))  # the mask with false: nothing happens there
        return a.reshape(num_chunks, chunk, *a.shape[1:])

    @partial(jax.checkpoint, prevent_cse=False)  # inside a scan there is nothing to merge with
    def body(state: State, inputs: tuple[Array, Steps]) -> tuple[State, Array | State]:
        x, steps = inputs
        ((outputs, state),) = run(x, [direction._replace(state=state, steps=steps)])
        return state, outputs

    inputs = jax.tree.map(split, (x, steps))
    last, outputs = jax.lax.scan(body, direction.state, inputs, reverse=direction.loop.reverse)
    return jax.tree.map(lambda a: a.reshape(num_chunks * chunk, *a.shape[2:])[:time], outputs), last
