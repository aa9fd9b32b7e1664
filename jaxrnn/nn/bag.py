"""What a linear classifier of words knows, as inputs of a network and as an answer beside it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn.typing import AnyArray


class Fixed(nnx.Param):
    """What is kept with the parameters but has no gradient, and so stays what it is."""


class Ratios(nnx.Module):
    """How much each word, and each run of words, speaks for a class: log-count ratios, looked up and not trained.

    A ratio that a training text was counted for tells its label: of a rare word nothing else is known. So a text in
    training is given the ratios of the other folds' texts alone, and a new one those of all.

    Args:
      num_words: V, numbers of words.
      num_ngrams: numbers of runs of words; 0: tokens have no runs.
      num_folds: parts that the training texts are divided into.
      num_outputs: ratios of each word or run, see `jaxrnn.data.log_count_ratios`, which is what belongs in the table.
    """

    def __init__(self, num_words: int, num_ngrams: int, num_folds: int, num_outputs: int):
        self.num_words = num_words
        self.table = Fixed(jnp.zeros((num_folds + 1, num_words + num_ngrams, num_outputs)))

    def rows(self, tokens: AnyArray) -> Array:
        """Rows of the table `[time, batch, numbers]`.

        Args:
          tokens: word numbers `[time, batch]`; or `[time, batch, numbers]`, a word's own number and those of the runs
            that end with it, which are numbered by themselves.
        """
        tokens = jnp.asarray(tokens)
        return tokens.reshape(*tokens.shape[:2], -1).at[..., 1:].add(self.num_words)

    def __call__(self, rows: Array, folds: AnyArray | None = None) -> Array:
        """Ratios `[time, batch, numbers, outputs]` of rows, for texts of these folds `[batch]`; None: for new texts."""
        table = jax.lax.stop_gradient(self.table[...])
        folds = jnp.full(rows.shape[1], len(table) - 1) if folds is None else jnp.asarray(folds)
        return table[folds[:, None], rows]


class Bag(nnx.Module):
    """A linear classifier of the words and runs of words that a text has, however often.

    Their weights are in units of their ratios. So what all classes have alike hardly counts, and what tells them apart
    moves the furthest in a step of training: NBSVM of Wang & Manning 2012, aclanthology.org/P12-2018. Weights start at
    zero.

    Args:
      num_rows: of the table of ratios.
      num_outputs: logits.
    """

    def __init__(self, num_rows: int, num_outputs: int):
        self.weight = nnx.Param(jnp.zeros((num_rows, num_outputs)))
        self.bias = nnx.Param(jnp.zeros(num_outputs))

    def __call__(self, rows: Array, ratios: Array) -> Array:
        """What each step adds to the logits, `[time, batch, outputs]`, the bias not counted.

        Args:
          rows: as of `Ratios`, `[time, batch, numbers]`.
          ratios: of these rows, `[time, batch, numbers, outputs]`.
        """
        return jnp.where(_occurs_first(rows)[..., None], self.weight[...][rows] * ratios, 0).sum(2)


def _occurs_first(numbers: Array) -> Array:
    """Whether a number stands in its text for the first time; numbers `[time, batch, numbers]`."""
    by_text = numbers.swapaxes(1, 2).reshape(-1, numbers.shape[1])
    places = jax.lax.broadcasted_iota(jnp.int32, by_text.shape, 0)
    ordered, places = jax.lax.sort((by_text, places), dimension=0, num_keys=2)
    is_first = jnp.concatenate([jnp.ones_like(ordered[:1], bool), ordered[1:] != ordered[:-1]])
    is_first = jnp.zeros_like(is_first).at[places, jnp.arange(by_text.shape[1])].set(is_first)
    return is_first.reshape(numbers.shape[0], numbers.shape[2], -1).swapaxes(1, 2)
