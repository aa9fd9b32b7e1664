"""Word dropout: tokens replaced by the unknown word."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn.nn.arguments import as_rngs
from jaxrnn.nn.regularization import checked_dropout


class WordDropout(nnx.Module):
    """Replaces tokens by the unknown word, each independently, while training (`model.train()`).

    The unknown word is used rather than zero because it represents unknown words later on; where the vocabulary holds
    all words of the training texts, nothing else would train its vector (Bowman et al. 2016, arXiv:1511.06349, 3.1).

    Args:
      rate: Share of tokens that are replaced.
      unknown_id: Number of the unknown word.
      rngs: Flax random streams, or a seed: `dropout`, where it is not given at the call.

    Raises:
      ValueError: The rate is out of range.
    """

    def __init__(self, rate: float, *, unknown_id: int = 0, rngs: nnx.Rngs | int):
        self.dropout = checked_dropout("word_dropout_rate", rate, as_rngs(rngs))
        self.unknown_id = unknown_id

    def __call__(self, tokens: Array, *, rngs: nnx.Rngs | None = None) -> Array:
        """Token numbers with some of them replaced.

        Args:
          tokens: Token numbers, of any shape.
          rngs: Random streams, in place of those given to the constructor.
        """
        if not self.dropout.rate or self.dropout.deterministic:
            return tokens
        return jnp.where(self.dropout(jnp.ones(tokens.shape), rngs=rngs) == 0, self.unknown_id, tokens)
