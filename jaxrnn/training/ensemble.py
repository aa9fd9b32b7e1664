"""Several trained classifiers as one: its probabilities are the mean of theirs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.tasks import log_probabilities
from jaxrnn.training.step import Parameters, SplitModel
from jaxrnn.typing import AnyArray


class Ensemble:
    """Stands in for the network that a `SplitModel` merges, where its parameters are stacked.

    Args:
      merge: makes the network of one member.
      parameters: of all members, `[members, ...]` each; they are used one after the other.
    """

    def __init__(self, merge: Callable[[Parameters], Any], parameters: Parameters):
        self._merge = merge
        self._parameters = parameters

    def eval(self) -> None:
        """Nothing to do: members never train."""

    def __call__(self, tokens: AnyArray, lengths: AnyArray) -> Array:
        """Logits as of one member, see `mean_prediction`."""

        def member(parameters: Parameters) -> Array:
            network = self._merge(parameters)
            network.eval()
            return network(tokens, lengths)

        return mean_prediction(jax.lax.map(member, self._parameters))


def ensemble_of(model: SplitModel, members: Sequence[Parameters]) -> SplitModel:
    """A model whose parameters are those of all members, stacked, and whose logits are of their mean prediction."""
    stacked = jax.tree.map(lambda *each: jnp.stack(each), *members)
    return SplitModel(stacked, lambda parameters: Ensemble(model.merge, parameters))


def mean_prediction(logits: Array) -> Array:
    """Logits `[batch, classes]` of the mean of the probabilities of logits `[members, batch, classes]`.

    With two classes that share a logit both have one.
    """
    log_mean = jax.nn.logsumexp(log_probabilities(logits), axis=0) - math.log(len(logits))
    return log_mean[:, 1:] - log_mean[:, :1] if logits.shape[-1] == 1 else log_mean
