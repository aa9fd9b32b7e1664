"""Word-level attributions of a trained classifier's answers."""

import sys
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.console import Console
from rich.progress import track

from jaxrnn import build
from jaxrnn.analysis import Explanation, Word, integrated_gradients
from jaxrnn.data import Vocabulary
from jaxrnn.models import TextClassifier
from jaxrnn.tasks import class_probabilities, log_odds
from jaxrnn.training import Parameters, split_model


def explain(classifier: build.Classifier, texts: Sequence[str]) -> list[Explanation]:
    """The answer to each text and what each word has to do with it.

    Integrated gradients of the predicted class's log-odds, from the zero vector in the place of each word's embedding
    to the embedding; a word's attribution is the sum over its features.

    Args:
      classifier: a trained one.
      texts: what to classify.
    """
    model = split_model(classifier.build_model())

    def eval_model(parameters: Parameters) -> TextClassifier:
        network = model.merge(parameters)
        network.eval()
        return network

    @jax.jit
    def answer(parameters: Parameters, tokens: Array, length: Array) -> tuple[Array, Array]:
        network = eval_model(parameters)
        x = network.embed(tokens[None])  # [time, 1, features]
        return x[:, 0], network.from_embeddings(x, length[None])[0]

    @jax.jit
    def slopes(parameters: Parameters, x: Array, length: Array, predicted: Array, points: Array) -> tuple[Array, Array]:
        def total(x: Array) -> tuple[Array, Array]:  # [time, points, features]
            logits = eval_model(parameters).from_embeddings(x, jnp.full(len(points), length))
            values = log_odds(logits, jnp.full(len(points), predicted))
            return values.sum(), values

        line = x[:, None] * points[:, None]  # from the zero vectors
        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(line)
        return values, jnp.einsum("tpf,tf->pt", gradient, x)

    def explain_one(ids: np.ndarray, places: np.ndarray, pieces: Sequence[tuple[str, str]]) -> Explanation:
        parameters, length = classifier.parameters, jnp.int32(len(ids))
        x, logits = answer(parameters, jnp.asarray(_pad(ids)), length)
        probabilities = class_probabilities(logits[None])[0]
        predicted = probabilities.argmax()
        found = integrated_gradients(partial(slopes, parameters, x, length, predicted))
        words = [Word(text, space, None, is_known=True) for text, space in pieces]
        word_ids = ids.reshape(len(ids), -1)[:, 0] if len(ids) else ids  # beside it may stand those of runs of words
        for place, value, word_id in zip(places, found.values, word_ids, strict=False):  # then padding
            is_known = bool(word_id != Vocabulary.unknown_id)
            words[place] = words[place]._replace(attribution=float(value), is_known=is_known)
        return Explanation(
            label=classifier.label_names[int(predicted)],
            probability=float(probabilities[predicted]),
            words=words,
            log_odds=found.output,
            baseline_log_odds=found.baseline_output,
            jumps=found.jumps,
        )

    ids, places = classifier.encode(classifier.tokenize(texts))
    inputs = list(zip(ids, places, classifier.tokenize_with_spaces(texts), strict=True))
    shown = track(inputs, "explaining", console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    return [explain_one(*each) for each in shown]


def _pad(ids: np.ndarray) -> np.ndarray:
    """To a power of two, so that texts of all lengths need few compilations."""
    time = 1 << max(len(ids) - 1, 15).bit_length()
    filler = [(0, time - len(ids)), *[(0, 0)] * (ids.ndim - 1)]
    return np.pad(ids, filler, constant_values=Vocabulary.pad_id)
