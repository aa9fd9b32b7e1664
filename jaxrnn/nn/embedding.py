"""Embedding, with its vectors normalised and whole words dropped; and words replaced by the unknown word."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrnn.nn.regularization import checked_dropout
from jaxrnn.typing import AnyArray


class Embed(nnx.Embed):
    """`flax.nnx.Embed` with embedding dropout and normalisation.

    A dropped word has the zero vector wherever it occurs in the batch. Normalised vectors have mean 0 and variance 1 in
    each feature over a text's words, v̄ = (v - Σ f v) / √(Σ f (v - Σ f v)²): larger vectors cannot make a perturbation
    of a given size smaller (Miyato et al. 2017, arXiv:1605.07725, equation 1). The embedding itself stays as it is, and
    1e-6 is added to the variance, for a feature in which all vectors are equal.

    Args:
      num_embeddings: V, words.
      features: width of a word's vector.
      dropout_rate: of words, while training (`model.train()`); the others are scaled by 1/(1 - rate) (Gal &
        Ghahramani 2016, arXiv:1512.05287; Merity et al. 2018, arXiv:1708.02182).
      frequencies: f up to a factor, such as how often each word occurs, `[vocabulary]`; None: not normalised.
      rngs: Flax random streams: `params`, and `dropout` where it is not given at the call.
      **options: of `flax.nnx.Embed`.

    Raises:
      ValueError: the rate is out of range, or the frequencies are not numbers of at least 0, one a word, not all 0.
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        dropout_rate: float = 0.0,
        frequencies: AnyArray | None = None,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        super().__init__(num_embeddings, features, rngs=rngs, **options)
        self.dropout = checked_dropout("dropout_rate", dropout_rate, rngs)
        self.frequencies = None if frequencies is None else nnx.Variable(_shares(frequencies, num_embeddings))

    def __call__(self, inputs: AnyArray, out_sharding: Any = None, *, rngs: nnx.Rngs | None = None) -> Array:
        """Vectors `[..., features]` of the token numbers `[...]`."""
        tokens = jnp.asarray(inputs)
        vectors = super().__call__(tokens, out_sharding)
        if self.frequencies is not None:
            f, table = self.frequencies[...], self.embedding[...]
            mean = f @ table
            vectors = (vectors - mean) / jnp.sqrt(f @ (table - mean) ** 2 + 1e-6)
        if not self.dropout.rate or self.dropout.deterministic:
            return vectors
        words = self.dropout(jnp.ones(self.num_embeddings, vectors.dtype), rngs=rngs)
        return vectors * words[tokens][..., None]


def _shares(frequencies: AnyArray, num_embeddings: int) -> Array:
    """Frequencies that sum to 1."""
    counts = np.asarray(frequencies, np.float64)
    if counts.shape != (num_embeddings,) or not (counts.min() >= 0 and 0 < counts.sum() < np.inf):
        raise ValueError(f"frequencies: expected {num_embeddings} numbers of at least 0, not all of them 0")
    return jnp.asarray(counts / counts.sum(), jnp.float32)


class WordDropout(nnx.Module):
    """Replaces tokens by the unknown word, each by itself, while training (`model.train()`).

    The unknown word rather than zero: it is what stands at unknown words later on, and where the vocabulary holds all
    words of the training texts nothing else would train its vector (as in Bowman et al. 2016, arXiv:1511.06349, 3.1).

    Args:
      rate: of tokens.
      unknown_id: number of the unknown word, and of an unknown run of words.
      rngs: Flax random streams: `dropout` where it is not given at the call.

    Raises:
      ValueError: the rate is out of range.
    """

    def __init__(self, rate: float, *, unknown_id: int = 0, rngs: nnx.Rngs):
        self.dropout = checked_dropout("word_dropout_rate", rate, rngs)
        self.unknown_id = unknown_id

    def __call__(self, tokens: Array, *, rngs: nnx.Rngs | None = None) -> Array:
        """Token numbers with some replaced.

        Args:
          tokens: `[time, batch]`; or `[time, batch, numbers]`, where the k-th number is that of the run of k + 1 words
            which ends with the token. With a word all runs that it is in become unknown.
          rngs: random streams, in place of those given to the constructor.
        """
        if not self.dropout.rate or self.dropout.deterministic:
            return tokens
        replaced = self.dropout(jnp.ones(tokens.shape[:2]), rngs=rngs) == 0
        if tokens.ndim == 2:
            return jnp.where(replaced, self.unknown_id, tokens)
        columns, affected = [], replaced
        for k in range(tokens.shape[2]):
            if k:
                affected |= jnp.pad(replaced, ((k, 0), (0, 0)))[: tokens.shape[0]]
            columns.append(jnp.where(affected, self.unknown_id, tokens[..., k]))
        return jnp.stack(columns, axis=-1)
