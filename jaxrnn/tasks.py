"""What a training step minimises and what is measured: classification."""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxrnn.typing import AnyArray


def classification_loss(logits: Array, labels: Array, *, label_smoothing: float = 0.0) -> Array:
    """Cross-entropy of each example, in nats, `[batch]`.

    Args:
      logits: `[batch, classes]`, softmax; or `[batch, 1]`, the logit of class 1 of two, logistic.
      labels: class numbers, `[batch]`.
      label_smoothing: share of the right answer's probability that is spread evenly over all classes (Szegedy et al.
        2016, arXiv:1512.00567, section 7).
    """
    if logits.shape[-1] == 1:
        targets = labels.astype(logits.dtype)
        if label_smoothing:
            targets = (1 - label_smoothing) * targets + label_smoothing / 2
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], targets)
    if label_smoothing:
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
        return optax.softmax_cross_entropy(logits, targets)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def predicted_class(logits: Array) -> Array:
    """The most probable class of each example, `[batch]`; at a tie the lower number."""
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return logits.argmax(-1).astype(jnp.int32)


def class_probabilities(logits: AnyArray) -> Array:
    """Probability of each class, `[batch, classes]`, also for two classes that share a logit."""
    if logits.shape[-1] == 1:
        return jax.nn.softmax(jnp.concatenate([jnp.zeros_like(logits), logits], -1))
    return jax.nn.softmax(logits)


def log_odds(logits: Array, classes: Array) -> Array:
    """log(p/(1 - p)) of one class's probability p for each example, `[batch]`: for two classes, plus or minus the logit.

    Args:
      logits: `[batch, classes]`, or `[batch, 1]`, the logit of class 1 of two.
      classes: class numbers, `[batch]`.
    """
    if logits.shape[-1] == 1:
        return jnp.where(classes == 1, logits[:, 0], -logits[:, 0])
    is_class = jax.nn.one_hot(classes, logits.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(is_class, -jnp.inf, logits), axis=-1)
    return logits.max(-1, where=is_class, initial=-jnp.inf) - others
