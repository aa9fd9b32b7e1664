"""What training minimises, and what is measured."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrnn.applications.tagging.data import TaggingAssets
from jaxrnn.applications.tagging.metrics import Scores, count_spans, scores
from jaxrnn.applications.tagging.model import Tagger
from jaxrnn.applications.tagging.schemes import find_spans
from jaxrnn.data import Padded
from jaxrnn.training import Measured, Metric, Sums, Task, mean


def tagging(assets: TaggingAssets) -> Task:
    """The task of finding the tag of each token.

    The loss is the negative log-likelihood of the tags in nats a token. What is measured besides are the share of
    tokens with the right tag and, where tags mark spans, precision, recall and F1 of the spans of all types together.
    The best checkpoint is the one with the highest F1, or without spans the highest accuracy.
    """

    def train(network: Tagger, arrays: Mapping[str, Any], weights: Array, carry: Any, rngs: nnx.Rngs) -> Measured:
        sums = _losses(network, _scores(network, arrays, rngs), arrays)
        return Measured(sums["loss"], sums)

    def evaluate(network: Tagger, arrays: Mapping[str, Any], weights: Array) -> tuple[Sums, Padded]:
        tag_scores = _scores(network, arrays)
        true, lengths = arrays["tags"]
        decoded = network.decode(tag_scores, lengths)
        valid = jnp.arange(true.shape[1]) < lengths[:, None]
        sums = _losses(network, tag_scores, arrays) | {
            "decoded": valid.sum(dtype=jnp.int32),
            "correct": (valid & (decoded == true)).sum(dtype=jnp.int32),
        }
        return sums, Padded(decoded, lengths)

    def score(example: Mapping[str, np.ndarray], decoded: np.ndarray) -> Sums:
        true, predicted = (
            find_spans([assets.all_tags[number] for number in numbers]) for numbers in (example["tags"], decoded)
        )
        return {"spans": count_spans(true, predicted, assets.types)}

    metrics = {
        "loss": Metric(of=mean("loss", of="judged"), unit="nats"),
        "accuracy": _share(mean("correct", of="decoded")),
    }
    if not assets.has_spans:
        return Task(train=train, evaluate=evaluate, metrics=metrics, unit="tokens", select="accuracy")
    metrics |= {
        "precision": _share(_of_spans(lambda each: each.precision)),
        "recall": _share(_of_spans(lambda each: each.recall)),
        "f1": _share(_of_spans(lambda each: each.f1)),
    }
    return Task(train=train, evaluate=evaluate, metrics=metrics, unit="tokens", score=score, select="f1")


def _scores(network: Tagger, arrays: Mapping[str, Any], rngs: nnx.Rngs | None = None) -> Array:
    words, lengths = arrays["words"]
    vectors = arrays["vectors"].values if "vectors" in arrays else None
    return network(words, lengths, arrays["shapes"].values, arrays["characters"].values, vectors, rngs=rngs)


def _losses(network: Tagger, tag_scores: Array, arrays: Mapping[str, Any]) -> Sums:
    """The summed loss, the number of tokens that have a part in it, and of all tokens; filler has no tokens."""
    losses, num_judged = network.loss(tag_scores, *arrays["tags"])
    return {
        "loss": losses.sum(),
        "judged": num_judged.sum(dtype=jnp.int32),
        "count": arrays["tags"].lengths.sum(dtype=jnp.int32),
    }


def _share(of: Callable[[Sums], float]) -> Metric:
    return Metric(of=of, unit="%", digits=2, higher_is_better=True)


def _of_spans(pick: Callable[[Scores], float]) -> Callable[[Sums], float]:
    return lambda sums: pick(scores(sums["spans"])) if "spans" in sums else math.nan
