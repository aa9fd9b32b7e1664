"""Embedding dropout, and tokens replaced by the unknown word."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn.nn.arguments import as_rngs
from jaxrnn.nn.regularization import checked_dropout
from jaxrnn.typing import AnyArray


class Embed(nnx.Embed):
    """`flax.nnx.Embed` with embedding dropout: a dropped word has the zero vector wherever it occurs in the batch.

    Args:
      num_embeddings: V, number of words.
      features: Width of a word's vector.
      dropout_rate: Share of words that are dropped while training (`model.train()`); the others are scaled by
        1/(1 - rate) (Gal & Ghahramani 2016, arXiv:1512.05287; Merity et al. 2018, arXiv:1708.02182).
      rngs: Flax random streams, or a seed: `params`, and `dropout` where it is not given at the call.
      **options: Options of `flax.nnx.Embed`.

    Raises:
      ValueError: The rate is out of range.
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        dropout_rate: float = 0.0,
        rngs: nnx.Rngs | int,
        **options: Any,
    ):
        rngs = as_rngs(rngs)
        super().__init__(num_embeddings, features, rngs=rngs, **options)
        self.dropout = checked_dropout("dropout_rate", dropout_rate, rngs)

    def __call__(self, inputs: AnyArray, out_sharding: Any = None, *, rngs: nnx.Rngs | None = None) -> Array:
        """Looks up the vectors `[..., features]` of token numbers `[...]`."""
        tokens = jnp.asarray(inputs)
        vectors = super().__call__(tokens, out_sharding)
        if not self.dropout.rate or self.dropout.deterministic:
            return vectors
        words = self.dropout(jnp.ones(self.num_embeddings, vectors.dtype), rngs=rngs)
        return vectors * words[tokens][..., None]


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
