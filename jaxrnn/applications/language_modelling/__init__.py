"""Language modelling: predicting each word of a text from those before it."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from flax import nnx

from jaxrnn.applications.base import Application, Prepared, Trained
from jaxrnn.applications.language_modelling.config import LanguageModellingConfig
from jaxrnn.applications.language_modelling.data import (
    LanguageAssets,
    TextExamples,
    load_examples,
    prepare,
    stream_batches,
)
from jaxrnn.applications.language_modelling.generate import add_arguments, write_text
from jaxrnn.applications.language_modelling.model import LanguageModel
from jaxrnn.applications.language_modelling.predict import TextScore, score_texts
from jaxrnn.applications.language_modelling.report import make_sections
from jaxrnn.applications.language_modelling.task import language_modelling
from jaxrnn.data import StreamBatches
from jaxrnn.training import Devices, Evaluation, Task
from jaxrnn.views import Section


class LanguageModelling(Application[LanguageModellingConfig, LanguageAssets]):
    """Trains recurrent language models, scores texts with them, and writes texts."""

    config = LanguageModellingConfig
    assets = LanguageAssets

    def prepare(self, config: LanguageModellingConfig, *, keep_cache: bool = True) -> Prepared[LanguageAssets]:
        """See `data.prepare`."""
        return prepare(config, keep_cache=keep_cache)

    def examples(
        self, config: LanguageModellingConfig, assets: LanguageAssets, source: str | None, split: str
    ) -> TextExamples:
        """See `data.load_examples`."""
        return load_examples(config, assets, source, split)

    def train_batches(
        self, config: LanguageModellingConfig, assets: LanguageAssets, examples: Any, devices: Devices
    ) -> StreamBatches:
        """Windows of a stream of all texts, through which the state is carried."""
        return stream_batches(config, assets, examples, devices)

    def network(self, config: LanguageModellingConfig, assets: LanguageAssets, rngs: nnx.Rngs) -> LanguageModel:
        """The language model with its initial weights."""
        return LanguageModel(config.model, vocabulary_size=len(assets.vocabulary), end_id=assets.end_id, rngs=rngs)

    def task(self, config: LanguageModellingConfig, assets: LanguageAssets) -> Task:
        """See `task.language_modelling`."""
        return language_modelling(num_samples=config.loss.sampled_words)

    def predict(self, trained: Trained, inputs: Sequence[str], **options: Any) -> Iterator[TextScore]:
        """The perplexity of texts."""
        return score_texts(trained, inputs)

    def add_generate_arguments(self, parser: argparse._ArgumentGroup) -> None:
        """See `generate.add_arguments`."""
        add_arguments(parser)

    def generate(self, trained: Trained, prompt: str, **options: Any) -> Iterator[str]:
        """See `generate.write_text`."""
        return write_text(trained, prompt, **options)

    def report(self, trained: Trained, examples: Any, evaluation: Evaluation) -> list[Section]:
        """See `report.make_sections`."""
        return make_sections(trained, examples, evaluation)


APPLICATION = LanguageModelling()
