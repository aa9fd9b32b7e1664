"""Embedding with whole words dropped."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn.nn.regularization import checked_dropout
from jaxrnn.typing import AnyArray


class Embed(nnx.Embed):
    """`flax.nnx.Embed` with embedding dropout: a dropped word has the zero vector wherever it occurs in the batch.

    Args:
      num_embeddings: V, words.
      features: width of a word's vector.
      dropout_rate: of words, while training (`model.train()`); the others are scaled by 1/(1 - rate) (Gal &
        Ghahramani 2016, arXiv:1512.05287; Merity et al. 2018, arXiv:1708.02182).
      rngs: Flax random streams: `params`, and `dropout` where it is not given at the call.
      **options: of `flax.nnx.Embed`.

    Raises:
      ValueError: the rate is out of range.
    """

    def __init__(
        self, num_embeddings: int, features: int, *, dropout_rate: float = 0.0, rngs: nnx.Rngs, **options: Any
    ):
        super().__init__(num_embeddings, features, rngs=rngs, **options)
        self.dropout = checked_dropout("dropout_rate", dropout_rate, rngs)

    def __call__(self, inputs: AnyArray, out_sharding: Any = None, *, rngs: nnx.Rngs | None = None) -> Array:
        """Vectors `[..., features]` of the token numbers `[...]`."""
        tokens = jnp.asarray(inputs)
        vectors = super().__call__(tokens, out_sharding)
        if not self.dropout.rate or self.dropout.deterministic:
            return vectors
        words = self.dropout(jnp.ones(self.num_embeddings, vectors.dtype), rngs=rngs)
        return vectors * words[tokens][..., None]
