"""Text classification: which of several classes a text belongs to. The README in this folder is the way in."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrnn.applications.base import Application, Prepared, Trained
from jaxrnn.applications.classification.config import ClassificationConfig
from jaxrnn.applications.classification.data import ClassificationAssets, TextExamples, load_examples, prepare
from jaxrnn.applications.classification.model import TextClassifier
from jaxrnn.applications.classification.predict import (
    ClassificationAnswer,
    add_arguments,
    classify,
    explanations_page,
)
from jaxrnn.applications.classification.pretrained import with_pretrained
from jaxrnn.applications.classification.report import make_sections
from jaxrnn.applications.classification.task import classification_task
from jaxrnn.applications.layers import describe_layers
from jaxrnn.data.text import with_vectors
from jaxrnn.errors import InputError
from jaxrnn.training import Evaluation, Parameters, Task
from jaxrnn.views import Section


class Classification(Application[ClassificationConfig, ClassificationAssets]):
    """Texts with one label each."""

    config = ClassificationConfig
    assets = ClassificationAssets

    def prepare(self, config: ClassificationConfig, *, keep_cache: bool = True) -> Prepared[ClassificationAssets]:
        """The data of a training run."""
        return prepare(config, keep_cache=keep_cache)

    def examples(
        self, config: ClassificationConfig, assets: ClassificationAssets, source: str | None, split: str
    ) -> TextExamples:
        """The examples of one split."""
        return load_examples(config, assets, source, split)

    def network(self, config: ClassificationConfig, assets: ClassificationAssets, rngs: nnx.Rngs) -> TextClassifier:
        """The classifier with its initial weights."""
        if config.model.has_ratios and assets.ratios is None:
            raise InputError("ratios.safetensors: the run's folder has no such file, and its config uses ratios")
        return TextClassifier(
            config.model,
            vocabulary_size=len(assets.vocabulary),
            num_classes=len(assets.label_names),
            ratios=assets.ratios if config.model.has_ratios else None,
            longest_ngram=assets.ngrams.longest,
            rngs=rngs,
        )

    def start(self, config: ClassificationConfig, assets: ClassificationAssets, parameters: Parameters) -> Parameters:
        """The initial parameters with pretrained word vectors, or with the weights of a language model."""
        if config.vectors.path is not None:
            name = "embedding.embedding"
            vectors = with_vectors(np.asarray(parameters[name]), assets.vocabulary, config.vectors.path)
            parameters = parameters | {name: jnp.asarray(vectors)}
        return with_pretrained(config, parameters, assets.vocabulary)

    def task(self, config: ClassificationConfig, assets: ClassificationAssets) -> Task:
        """The loss, and what is measured."""
        return classification_task(label_smoothing=config.loss.label_smoothing)

    def describe(self, config: ClassificationConfig) -> str:
        """The model in a few words."""
        directions = "bidirectional" if config.model.bidirectional else "unidirectional"
        text = f"{describe_layers(config.model)}, {directions}, {config.model.pooling} pooling"
        return f"{text}, word vectors of {config.model.embedding} features"

    def add_predict_arguments(self, parser: argparse._ArgumentGroup) -> None:
        """Adds `--explain`."""
        add_arguments(parser)

    def predict(
        self, trained: Trained, inputs: Sequence[str], *, explain: bool = False, **options: Any
    ) -> Iterator[ClassificationAnswer]:
        """The most probable class of each text, with its explanation if that is asked for."""
        return classify(trained, inputs, explained=explain)

    def page(self, trained: Trained, inputs: Sequence[str], **options: Any) -> str:
        """The explained answers to texts as a page of HTML."""
        return explanations_page(trained, inputs)

    def report(self, trained: Trained, examples: Any, evaluation: Evaluation) -> list[Section]:
        """Confusion, calibration, accuracy by length, and the most confident mistakes."""
        return make_sections(trained, examples, evaluation)


APPLICATION = Classification()
