"""What a training step minimises and what is measured: classification, and a language model's next words."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from jaxrnn.models import LanguageModel, TextClassifier
from jaxrnn.typing import AnyArray


class Rows(NamedTuple):
    """A batch on the devices; see `jaxrnn.data.Batch`."""

    tokens: Array
    lengths: Array
    labels: Array
    weights: Array
    folds: Array


class Totals(NamedTuple):
    """Sums over examples, from which means are taken; each a scalar."""

    loss: Any = 0.0
    correct: Any = 0
    examples: Any = 0  # texts, or of a language model words
    tokens: Any = 0
    skipped: Any = 0  # steps left out of the other sums, as their loss or gradient was not finite

    def plus(self, other: "Totals") -> "Totals":
        """The sums over both, as numbers of Python: float64 and integers of any size."""
        return Totals(*(a + b.item() for a, b in zip(self, jax.device_get(other), strict=True)))

    @property
    def mean_loss(self) -> float:
        """In nats an example."""
        return self.loss / self.examples

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.correct / self.examples

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss: as hard to guess as one of so many words that are equally probable."""
        return math.exp(min(self.mean_loss, 700.0))


class Measured(NamedTuple):
    """A batch after the model."""

    loss: Array  # what is minimised, summed over the batch
    totals: Totals
    logits: Array  # [batch, classes]; of a language model [batch, 0]: they would fill the memory
    carry: Any  # what the next training step is given


class Task(NamedTuple):
    """What a step minimises and what is measured."""

    # Of the model, a batch, the last carry, random streams, and what to add to the embedded texts, see
    # `jaxrnn.training.adversarial`; None: nothing.
    train: Callable[[Any, Rows, Any, nnx.Rngs, Array | None], Measured]
    evaluate: Callable[[Any, Rows], Measured]
    initial_carry: Callable[[Any, int], Any]  # of the model and the rows of a batch
    metric: Literal["accuracy", "perplexity"]  # told beside the loss
    unit: Literal["examples", "words"]  # what the loss is a mean over

    def metrics(self, totals: Totals) -> dict[str, float]:
        """The mean loss and the metric, by name."""
        return {"loss": totals.mean_loss, self.metric: getattr(totals, self.metric)}

    def describe(self, totals: Totals) -> str:
        """Both in words."""
        value = getattr(totals, self.metric)
        text = f"{100 * value:.2f} %" if self.metric == "accuracy" else f"{value:,.1f}"
        return f"loss {totals.mean_loss:.4f}, {self.metric} {text}"


def classification(*, label_smoothing: float = 0.0) -> Task:
    """The label of each text. `label_smoothing` is of what is minimised alone, see `classification_loss`."""

    def train(network: TextClassifier, rows: Rows, carry: Any, rngs: nnx.Rngs, perturbation: Array | None) -> Measured:
        x = network.embed(rows.tokens, folds=rows.folds, rngs=rngs)
        if perturbation is not None:  # of the vectors, which come first
            x = x + jnp.pad(perturbation, ((0, 0), (0, 0), (0, x.shape[-1] - perturbation.shape[-1])))
        answers = network.answers(x, rows.lengths, rngs=rngs)
        losses = [classification_loss(each, rows.labels, label_smoothing=label_smoothing) for each in answers]
        measured = measure(jnp.stack(answers).mean(0), rows)
        return measured._replace(loss=_sum(jnp.stack(losses).sum(0), rows.weights))

    def measure(logits: Array, rows: Rows) -> Measured:
        totals = _totals(logits, rows)
        return Measured(totals.loss, totals, logits, ())

    return Task(
        train=train,
        evaluate=lambda network, rows: measure(network(rows.tokens, rows.lengths), rows),
        initial_carry=lambda network, batch_size: (),
        metric="accuracy",
        unit="examples",
    )


def language_modelling(*, num_samples: int | None = None) -> Task:
    """Each word after those before it. The state is carried from one training batch to the next.

    A perturbation counts for nothing: the words are what is to be predicted.

    Args:
      num_samples: words that the loss of training is estimated from (its totals too); None: all. See
        `jaxrnn.models.softmax`. An evaluation takes all.
    """

    def measure(network: LanguageModel, rows: Rows, **options: Any) -> Measured:
        losses, state = network.losses(rows.tokens, rows.lengths, **options)
        words = jnp.maximum(rows.lengths - 1, 0).sum(dtype=jnp.int32)
        none = jnp.zeros((), jnp.int32)
        totals = Totals(loss=losses.sum(), correct=none, examples=words, tokens=words, skipped=none)
        return Measured(totals.loss, totals, jnp.zeros((len(rows.tokens), 0)), state)

    return Task(
        train=lambda network, rows, carry, rngs, perturbation: measure(
            network, rows, state=carry, num_samples=num_samples, rngs=rngs
        ),
        evaluate=measure,
        initial_carry=lambda network, batch_size: network.initial_state(batch_size),
        metric="perplexity",
        unit="words",
    )


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


def kl_divergence(logits: Array, other: Array) -> Array:
    """KL(p ‖ q) of each example in nats, `[batch]`, for p and q given by logits as in `classification_loss`."""
    p, q = log_probabilities(logits), log_probabilities(other)
    return (jnp.exp(p) * (p - q)).sum(-1)


def predicted_class(logits: Array) -> Array:
    """The most probable class of each example, `[batch]`; at a tie the lower number."""
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return logits.argmax(-1).astype(jnp.int32)


def class_probabilities(logits: AnyArray) -> Array:
    """Probability of each class, `[batch, classes]`, also for two classes that share a logit."""
    return jnp.exp(log_probabilities(logits))


def log_probabilities(logits: AnyArray) -> Array:
    """Logarithm of `class_probabilities`."""
    if logits.shape[-1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], -1)
    return jax.nn.log_softmax(logits)


def log_odds(logits: Array, classes: Array) -> Array:
    """log(p/(1 - p)) of one class's probability p for each example, `[batch]`: of two classes, plus or minus the logit.

    Args:
      logits: `[batch, classes]`, or `[batch, 1]`, the logit of class 1 of two.
      classes: class numbers, `[batch]`.
    """
    if logits.shape[-1] == 1:
        return jnp.where(classes == 1, logits[:, 0], -logits[:, 0])
    is_class = jax.nn.one_hot(classes, logits.shape[-1], dtype=bool)
    others = jax.nn.logsumexp(jnp.where(is_class, -jnp.inf, logits), axis=-1)
    return logits.max(-1, where=is_class, initial=-jnp.inf) - others


def _sum(losses: Array, weights: Array) -> Array:
    return jnp.where(weights > 0, losses, 0).sum()


def _totals(logits: Array, rows: Rows) -> Totals:
    real = rows.weights > 0
    return Totals(
        loss=_sum(classification_loss(logits, rows.labels), rows.weights),
        correct=(real & (predicted_class(logits) == rows.labels)).sum(dtype=jnp.int32),
        examples=real.sum(dtype=jnp.int32),
        tokens=rows.lengths.sum(dtype=jnp.int32),
        skipped=jnp.zeros((), jnp.int32),
    )
