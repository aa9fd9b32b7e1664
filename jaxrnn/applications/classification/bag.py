"""What a linear classifier of words knows: as inputs of a network, and as an answer beside it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrnn.typing import AnyArray


class Ratios(nnx.Module):
    """Looks up how much each word and n-gram speaks for a class. The ratios are not trained.

    A ratio that a training text was counted for gives its label away: of a rare word nothing else is known. So a text
    in training is given the ratios of the other folds' texts alone, and a new one those of all training texts.

    Args:
      table: The log-count ratios `[num_folds + 1, rows, outputs]`, see `log_count_ratios`.
    """

    def __init__(self, table: np.ndarray):
        self.table = nnx.Variable(jnp.asarray(table))

    def __call__(self, rows: Array, folds: AnyArray | None = None) -> Array:
        """The ratios of rows.

        Args:
          rows: Rows of the table, `[time, batch, longest]`.
          folds: The fold of each text, `[batch]`; None: they are new texts.

        Returns:
          `[time, batch, longest, outputs]`.
        """
        table = self.table[...]
        tables = jnp.full(rows.shape[1], len(table) - 1) if folds is None else jnp.asarray(folds)
        return table[tables[:, None], rows]


class Bag(nnx.Module):
    """A linear classifier of the words and n-grams that a text has, however often it has them.

    Their weights are in units of their ratios. So words that all classes use alike hardly count, and words that tell
    the classes apart move the furthest in a step of training: NBSVM of Wang & Manning 2012, aclanthology.org/P12-2018.
    The weights start at zero.

    Args:
      num_rows: Rows of the table of ratios.
      num_outputs: Number of logits.
    """

    def __init__(self, num_rows: int, num_outputs: int):
        self.weight = nnx.Param(jnp.zeros((num_rows, num_outputs)))
        self.bias = nnx.Param(jnp.zeros(num_outputs))

    def __call__(self, rows: Array, ratios: Array) -> Array:
        """What each token adds to the logits, `[time, batch, outputs]`, without the bias.

        Args:
          rows: Rows of the table, `[time, batch, longest]`.
          ratios: The ratios of these rows, `[time, batch, longest, outputs]`.
        """
        return jnp.where(_occurs_first(rows)[..., None], self.weight[...][rows] * ratios, 0).sum(2)


def _occurs_first(numbers: Array) -> Array:
    """Whether a number occurs in its text for the first time; both `[time, batch, longest]`."""
    by_text = numbers.swapaxes(1, 2).reshape(-1, numbers.shape[1])
    places = jax.lax.broadcasted_iota(jnp.int32, by_text.shape, 0)
    ordered, places = jax.lax.sort((by_text, places), dimension=0, num_keys=2)
    is_first = jnp.concatenate([jnp.ones_like(ordered[:1], bool), ordered[1:] != ordered[:-1]])
    is_first = jnp.zeros_like(is_first).at[places, jnp.arange(by_text.shape[1])].set(is_first)
    return is_first.reshape(numbers.shape[0], numbers.shape[2], -1).swapaxes(1, 2)
