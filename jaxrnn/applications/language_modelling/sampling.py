"""The distribution that the next word is drawn from: temperature, top-k and top-p."""

import jax
import jax.numpy as jnp
from jax import Array


def restrict(logits: Array, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> Array:
    """Logits of the distribution to draw from, `[..., vocabulary]`: minus infinity for words that are left out.

    The temperature acts first. Then the k most probable words are kept, and of those the fewest whose probabilities
    add up to p or more (nucleus sampling; Holtzman et al. 2020, arXiv:1904.09751). Where words at the limit are
    equally probable, all of them are kept.

    Args:
      logits: Logits of the next word, `[..., vocabulary]`.
      temperature: Divides the logits. 0 keeps only the most probable word, and the lowest number in a tie.
      top_k: Number of words to keep; None keeps all.
      top_p: Probability to keep, in (0, 1]; None keeps all.

    Raises:
      ValueError: An argument is out of range.
    """
    if temperature < 0:
        raise ValueError(f"temperature: expected at least 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: expected 0 < top_p <= 1, got {top_p}")
    if temperature == 0:
        best = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=bool)
        return jnp.where(best, 0.0, -jnp.inf)
    logits = logits / temperature
    if top_k is not None:
        lowest = jax.lax.top_k(logits, min(top_k, logits.shape[-1]))[0][..., -1:]
        logits = jnp.where(logits < lowest, -jnp.inf, logits)
    if top_p is not None:
        falling = -jnp.sort(-logits, axis=-1)
        before = jnp.cumsum(jax.nn.softmax(falling, axis=-1), axis=-1) - jax.nn.softmax(falling, axis=-1)
        lowest = jnp.where(before < top_p, falling, jnp.inf).min(-1, keepdims=True)
        logits = jnp.where(logits < lowest, -jnp.inf, logits)
    return logits
