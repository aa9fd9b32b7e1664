"""A linear classifier of the words, and runs of words, that a text has."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn.typing import AnyArray


class Bag(nnx.Module):
    """What each word and run of words adds to a text's logits, where it occurs first; the caller takes the sum.

    The weight of a word or run is trained in units of its log-count ratio, which is given: how much likelier it is in
    texts of a class than in the others. So what all classes have alike hardly counts, and what tells them apart moves
    the furthest in a step of training (NBSVM: Wang & Manning 2012, aclanthology.org/P12-2018; there, too, a word that
    occurs again counts no more). Weights start at zero, as do the ratios, until `jaxrnn.data.log_count_ratios` are there.

    Args:
      num_words: V, numbers of words.
      num_ngrams: numbers of runs of words; 0: tokens have no runs.
      num_outputs: logits.
    """

    def __init__(self, num_words: int, num_ngrams: int, num_outputs: int):
        self.num_words = num_words
        shape = num_words + num_ngrams, num_outputs
        self.weight = nnx.Param(jnp.zeros(shape))
        self.ratios = nnx.Param(jnp.zeros(shape))  # kept with the other parameters, but not trained
        self.bias = nnx.Param(jnp.zeros(num_outputs))

    def __call__(self, tokens: AnyArray) -> Array:
        """Terms of the logits `[time, batch, outputs]`, without the bias.

        Args:
          tokens: word numbers `[time, batch]`; or `[time, batch, numbers]`, a word's own number and those of the runs
            that end with it, whose terms are added up.
        """
        tokens = jnp.asarray(tokens)
        tokens = tokens.reshape(*tokens.shape[:2], -1)
        rows = tokens.at[..., 1:].add(self.num_words)  # runs are numbered by themselves
        terms = self.weight[...][rows] * jax.lax.stop_gradient(self.ratios[...][rows])
        return jnp.where(_occurs_first(rows)[..., None], terms, 0).sum(2)


def _occurs_first(numbers: Array) -> Array:
    """Whether a number stands in its text for the first time; numbers `[time, batch, numbers]`."""
    by_text = numbers.swapaxes(1, 2).reshape(-1, numbers.shape[1])
    places = jax.lax.broadcasted_iota(jnp.int32, by_text.shape, 0)
    ordered, places = jax.lax.sort((by_text, places), dimension=0, num_keys=2)
    is_first = jnp.concatenate([jnp.ones_like(ordered[:1], bool), ordered[1:] != ordered[:-1]])
    is_first = jnp.zeros_like(is_first).at[places, jnp.arange(by_text.shape[1])].set(is_first)
    return is_first.reshape(numbers.shape[0], numbers.shape[2], -1).swapaxes(1, 2)


class BranchDropout(nnx.Module):
    """The mean of two branches' logits; while training (`model.train()`), for some rows those of one branch alone.

    So both learn to answer by themselves. Trained together alone, a branch that learns fast would leave the other
    nothing to learn (ModDrop: Neverova et al. 2015, arXiv:1501.00102).

    Args:
      rate: of the rows that the first branch answers alone, and of those that the second does.

    Raises:
      ValueError: the rate is out of range.
    """

    def __init__(self, rate: float):
        if not 0 <= rate <= 0.5:
            raise ValueError(f"alone_rate: expected 0 <= rate <= 0.5, got {rate}")
        self.rate = rate
        self.deterministic = False  # set by `model.eval()`

    def __call__(self, first: Array, second: Array, *, rngs: nnx.Rngs | None = None) -> Array:
        """Logits `[batch, outputs]` from those of both; `rngs` is needed while training."""
        mean = (first + second) / 2
        if self.deterministic or not self.rate:
            return mean
        if rngs is None:
            raise ValueError("rngs: expected random streams while training, got None")
        chance = jax.random.uniform(rngs.dropout(), (len(mean), 1))
        return jnp.where(chance < self.rate, first, jnp.where(chance < 2 * self.rate, second, mean))
