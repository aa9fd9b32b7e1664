"""What training minimises, and what is measured."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from jaxrnn.applications.classification.model import TextClassifier
from jaxrnn.training import Measured, Metric, Sums, Task, mean

METRICS = {
    "loss": Metric(of=mean("loss"), unit="nats"),
    "accuracy": Metric(of=mean("correct"), unit="%", digits=2, higher_is_better=True),
}


def classification_task(*, label_smoothing: float = 0.0) -> Task:
    """The task of finding the label of each text.

    Where there is a bag of words beside the network, the loss is the sum of both losses, so that each learns to answer
    by itself. What is measured is the loss and the accuracy of their mean.

    Args:
      label_smoothing: See `classification_loss`. It acts on what is minimised, not on what is measured.
    """

    def train(
        network: TextClassifier, arrays: Mapping[str, Any], weights: Array, carry: Any, rngs: nnx.Rngs
    ) -> Measured:
        tokens, lengths = arrays["tokens"]
        inputs = network.embed(tokens, rows=_rows(arrays), folds=arrays.get("fold"), rngs=rngs)
        answers = network.answers(inputs, lengths, rngs=rngs)
        losses = [classification_loss(each, arrays["label"], label_smoothing=label_smoothing) for each in answers]
        sums = _measure(jnp.stack(answers).mean(0), arrays, weights)
        return Measured(_sum(jnp.stack(losses).sum(0), weights), sums)

    def evaluate(network: TextClassifier, arrays: Mapping[str, Any], weights: Array) -> tuple[Sums, Array]:
        tokens, lengths = arrays["tokens"]
        logits = network(tokens, lengths, rows=_rows(arrays))
        return _measure(logits, arrays, weights), logits

    return Task(train=train, evaluate=evaluate, metrics=METRICS, unit="examples")


def classification_loss(logits: Array, labels: Array, *, label_smoothing: float = 0.0) -> Array:
    """The cross-entropy of each example in nats, `[batch]`.

    Args:
      logits: `[batch, classes]` for a softmax; or `[batch, 1]`, the logit of class 1 of two, for a logistic function.
      labels: Class numbers, `[batch]`.
      label_smoothing: Share of the correct class's probability that is spread evenly over all classes (Szegedy et al.
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


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """The probability of each class, `[batch, classes]`, also for two classes that share a logit."""
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], -1)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def _measure(logits: Array, arrays: Mapping[str, Any], weights: Array) -> Sums:
    is_real = weights > 0
    return {
        "loss": _sum(classification_loss(logits, arrays["label"]), weights),
        "correct": (is_real & (predicted_class(logits) == arrays["label"])).sum(dtype=jnp.int32),
        "count": is_real.sum(dtype=jnp.int32),
        "tokens": arrays["tokens"].lengths.sum(dtype=jnp.int32),
    }


def _rows(arrays: Mapping[str, Any]) -> Array | None:
    return arrays["rows"].values if "rows" in arrays else None


def _sum(losses: Array, weights: Array) -> Array:
    return jnp.where(weights > 0, losses, 0).sum()
