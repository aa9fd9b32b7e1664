"""A network and a task that have all that training knows of: dropout, a constant, a carry, sums, padded outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxrnn import core, nn
from jaxrnn.data import BucketedBatches, Columns, Padded, Ragged
from jaxrnn.training import Measured, Metric, SplitModel, Task, mean, split_model

VOCABULARY, FEATURES, HIDDEN, CLASSES, TIME = 30, 8, 8, 3, 8
METRICS = {
    "loss": Metric(mean("loss"), unit="nats"),
    "accuracy": Metric(mean("correct"), unit="%", digits=2, higher_is_better=True),
}


class Constant(nnx.Variable):
    """Not a parameter: it is not trained."""


class Network(nnx.Module):
    def __init__(self, *, dropout_rate=0.5, dtype=None, rngs):
        self.embedding = nnx.Embed(VOCABULARY, FEATURES, rngs=rngs)
        self.dropout = nnx.Dropout(dropout_rate)
        self.layer = nn.GRU(FEATURES, HIDDEN, backend="fused_scan", dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)
        self.scale = Constant(jnp.linspace(0.5, 2, CLASSES))

    def __call__(self, words, *, before=None, rngs=None):
        """Logits of each word `[rows, time, classes]` and of each row `[rows, classes]`, and h, which is carried."""
        x = self.dropout(self.embedding(words.values), rngs=rngs)
        state = None if before is None else core.GRUState(before[None])
        states, state = self.layer(x, lengths=words.lengths, state=state)
        return self.head(states), self.head(state.h[-1]) * self.scale[...], state.h[-1]


def small_model(**options) -> SplitModel:
    split = split_model(Network(rngs=nnx.Rngs(0), **options))
    return split._replace(parameters=jax.tree.map(np.array, split.parameters))  # steps donate, these must stay


def measure(logits, labels, weights):
    is_real = weights > 0
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    correct = is_real & (logits.argmax(-1) == labels)
    by_class = jax.nn.one_hot(labels, CLASSES, dtype=jnp.int32) * is_real[:, None]
    loss = jnp.where(is_real, losses, 0).sum()
    return {"loss": loss, "correct": correct.sum(), "count": is_real.sum(), "by_class": by_class.sum(0)}


def small_task(*, with_carry=False, score=None, select="loss") -> Task:
    def train(network, arrays, weights, carry, rngs):
        _, logits, last = network(arrays["words"], before=carry if with_carry else None, rngs=rngs)
        sums = measure(logits, arrays["label"], weights)
        return Measured(sums["loss"], sums, carry=last if with_carry else ())

    def evaluate(network, arrays, weights):
        words, logits, _ = network(arrays["words"])
        outputs = {"row": logits, "words": Padded(words, arrays["words"].lengths)}
        return measure(logits, arrays["label"], weights), outputs

    options = {"initial_carry": lambda network, num_rows: jnp.zeros((num_rows, HIDDEN))} if with_carry else {}
    return Task(train, evaluate, METRICS, score=score, select=select, **options)


def small_examples(count=40, *, longest=TIME, seed=0):
    rng = np.random.default_rng(seed)
    words = [rng.integers(2, VOCABULARY, n).astype(np.int32) for n in rng.integers(0, longest + 1, count)]
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    return Columns({"words": Ragged(words, padding=1), "label": labels}, bucket_by="words")


def small_batches(examples=None, *, batch_size=12, rows=None, seed=0):
    examples = examples or small_examples()
    return BucketedBatches(examples, boundaries=(TIME,), batch_size=batch_size, seed=seed, rows=rows)
