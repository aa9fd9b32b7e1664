"""Cross-entropy over a large vocabulary: from all words, a few time steps at once, or estimated from a sample.

The probability of word k after features x is exp(l_k)/Z with l_k = x·e_k + b_k and Z = Σ_k exp(l_k); e_k is row k of
the table, which here is the embedding (Press & Wolf 2017, arXiv:1608.05859).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core import matmul
from jaxrnn.typing import AnyArray

MAX_LOGITS = 2**24  # logits in memory at one time: 64 MiB, and twice that in the backward pass


def cross_entropy(features: Array, table: Array, bias: Array, targets: AnyArray) -> Array:
    """-log p of every target, in nats, `[time, batch]`, with the logits of only a few steps in memory at once.

    The backward pass computes the logits again.

    Args:
      features: x, `[time, batch, features]`.
      table: e, `[vocabulary, features]`; its dtype is the dtype of the products.
      bias: b, `[vocabulary]`.
      targets: Word numbers, `[time, batch]`.
    """

    def losses(x: Array, words: Array) -> Array:
        logits = matmul(x, table.T) + bias
        target = jnp.take_along_axis(logits, words[..., None], axis=-1)[..., 0]
        return jax.nn.logsumexp(logits, axis=-1) - target

    return _in_chunks(losses, features, jnp.asarray(targets), width=table.shape[0])


def sampled_cross_entropy(
    features: Array, table: Array, bias: Array, targets: AnyArray, *, num_samples: int, key: Array
) -> Array:
    """An estimate of `cross_entropy`, `[time, batch]`, from the targets and a sample of words, one for all steps.

    S words are drawn from the distribution q with replacement. Z is estimated by exp(l_target) + Σ_s exp(l_s)/(S·q_s),
    summed over the draws that are not the target. The expectation of this estimate is Z. By Jensen's inequality the
    expected loss is therefore too low, by less the larger S is (Jean et al. 2015, arXiv:1412.2007; Bengio & Senécal
    2008, doi:10.1109/TNN.2007.912312).

    q_k = log((k + 2)/(k + 1))/log(V + 1), which is near Zipf's law where words are numbered by falling frequency.

    Args:
      features: x, `[time, batch, features]`.
      table: e, `[vocabulary, features]`; its dtype is the dtype of the products.
      bias: b, `[vocabulary]`.
      targets: Word numbers, `[time, batch]`.
      num_samples: S, the number of draws.
      key: Random key of the draws.
    """
    num_words = table.shape[0]
    samples = draw_words(key, num_words, num_samples)
    rows = table[samples]
    shift = bias[samples] - jnp.log(num_samples * word_probability(samples, num_words))

    def losses(x: Array, words: Array) -> Array:
        target = (x * table[words].astype(x.dtype)).sum(-1) + bias[words]
        others = jnp.where(samples == words[..., None], -jnp.inf, matmul(x, rows.T) + shift)
        return jnp.logaddexp(target, jax.nn.logsumexp(others, axis=-1)) - target

    return _in_chunks(losses, features, jnp.asarray(targets), width=num_samples)


def draw_words(key: Array, num_words: int, num_samples: int) -> Array:
    """Draws word numbers from the log-uniform distribution q with replacement, `[num_samples]`."""
    # P(number < k) = log(k + 1)/log(V + 1), solved for k.
    uniform = jax.random.uniform(key, (num_samples,))
    numbers = jnp.exp(uniform * jnp.log(num_words + 1.0)) - 1
    return jnp.clip(numbers.astype(jnp.int32), 0, num_words - 1)


def word_probability(numbers: Array, num_words: int) -> Array:
    """The probability q of each word number."""
    return jnp.log1p(1 / (numbers + 1.0)) / jnp.log(num_words + 1.0)


def _in_chunks(losses: Callable[[Array, Array], Array], features: Array, targets: Array, *, width: int) -> Array:
    """Applies `losses` to chunks of time steps whose logits, `width` for each position, stay below the limit."""
    time, batch = targets.shape
    chunk = min(max(MAX_LOGITS // (batch * width), 1), time)
    num_chunks = -(-time // chunk)

    def split(a: Array) -> Array:
        # Along time and not along rows: each of several devices keeps its own rows.
        a = jnp.pad(a, [(0, num_chunks * chunk - time)] + [(0, 0)] * (a.ndim - 1))
        return a.reshape(num_chunks, chunk, *a.shape[1:])

    body = jax.checkpoint(lambda part: losses(*part), prevent_cse=False)
    return jax.lax.map(body, (split(features), split(targets))).reshape(-1, batch)[:time]
