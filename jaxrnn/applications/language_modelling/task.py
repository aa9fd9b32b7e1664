"""What a language model is trained to do and measured by: each word of a text, given those before it."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn.applications.language_modelling.model import LanguageModel
from jaxrnn.data import Padded
from jaxrnn.training import Measured, Metric, Sums, Task, mean


def language_modelling(*, num_samples: int | None = None) -> Task:
    """The task. The loss is summed over the words, among which the ends of texts count.

    A training step begins with the recurrent state in which the step before it ended. An evaluation's output is the
    natural logarithm of the probability of every token but the first, `[rows, time]`.

    Args:
      num_samples: Number of words that the training loss, and what is shown of it, is estimated from. None: all of
        them, as in every evaluation. See `softmax.sampled_cross_entropy`.
    """

    def train(
        network: LanguageModel, arrays: Mapping[str, Any], weights: Array, carry: Any, rngs: nnx.Rngs
    ) -> Measured:
        tokens = arrays["tokens"]
        losses, state = network.losses(
            tokens.values, tokens.lengths, state=_swap_axes(carry), num_samples=num_samples, rngs=rngs
        )
        sums = _sums(losses, tokens.lengths)
        return Measured(sums["loss"], sums, _swap_axes(state))

    def evaluate(network: LanguageModel, arrays: Mapping[str, Any], weights: Array) -> tuple[Sums, Padded]:
        tokens = arrays["tokens"]
        losses, _ = network.losses(tokens.values, tokens.lengths)
        return _sums(losses, tokens.lengths), Padded(-losses, _num_targets(tokens.lengths))

    return Task(
        train=train,
        evaluate=evaluate,
        metrics={
            "loss": Metric(of=mean("loss"), unit="nats"),
            "perplexity": Metric(of=perplexity, digits=1, log_scale=True),
        },
        unit="words",
        initial_carry=lambda network, num_rows: _swap_axes(network.initial_state(num_rows)),
    )


def perplexity(sums: Sums) -> float:
    """exp(mean loss): the number of equally probable words among which the next one would be as hard to predict."""
    return math.exp(min(mean("loss")(sums), 700.0))  # a float64 ends at exp(709)


def _sums(losses: Array, lengths: Array) -> Sums:
    """The sums of losses that are zero past each row's length, as in filler rows, whose length is 0."""
    return {"loss": losses.sum(), "count": _num_targets(lengths).sum(dtype=jnp.int32)}


def _num_targets(lengths: Array) -> Array:
    return jnp.maximum(lengths - 1, 0)


def _swap_axes(state: Any) -> Any:
    """From the layers' state `[layers, rows, hidden]` to the carry `[rows, layers, hidden]`, or back."""
    return jax.tree.map(lambda part: part.swapaxes(0, 1), state)
