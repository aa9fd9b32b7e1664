"""Tagging: a label for each token, such as parts of speech and names. The README in this folder is the way in."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from flax import nnx

from jaxrnn.applications.base import Application, Prepared, Trained
from jaxrnn.applications.tagging.config import TaggingConfig
from jaxrnn.applications.tagging.data import TaggedExamples, TaggingAssets, load_examples, prepare
from jaxrnn.applications.tagging.model import Tagger
from jaxrnn.applications.tagging.predict import TaggedText, add_arguments, tag_texts, tagged_page
from jaxrnn.applications.tagging.report import make_sections
from jaxrnn.applications.tagging.task import tagging
from jaxrnn.training import Evaluation, Task
from jaxrnn.views import Section


class Tagging(Application[TaggingConfig, TaggingAssets]):
    """Sentences with a tag for each token."""

    config = TaggingConfig
    assets = TaggingAssets

    def prepare(self, config: TaggingConfig, *, keep_cache: bool = True) -> Prepared[TaggingAssets]:
        """See `data.prepare`."""
        return prepare(config)

    def examples(self, config: TaggingConfig, assets: TaggingAssets, source: str | None, split: str) -> TaggedExamples:
        """See `data.load_examples`."""
        return load_examples(config, assets, source, split)

    def network(self, config: TaggingConfig, assets: TaggingAssets, rngs: nnx.Rngs) -> Tagger:
        """The tagger with its initial weights."""
        return Tagger(
            config.model,
            num_words=len(assets.words),
            num_shapes=len(assets.shapes),
            num_characters=len(assets.characters),
            vectors=None if assets.vectors is None else assets.vectors.matrix,
            legal=assets.legal,
            outside=assets.outside,
            rngs=rngs,
        )

    def task(self, config: TaggingConfig, assets: TaggingAssets) -> Task:
        """See `task.tagging`."""
        return tagging(assets)

    def add_predict_arguments(self, parser: argparse._ArgumentGroup) -> None:
        """See `predict.add_arguments`."""
        add_arguments(parser)

    def predict(self, trained: Trained, inputs: Sequence[str], **options: Any) -> Iterator[TaggedText]:
        """See `predict.tag_texts`."""
        return tag_texts(trained, inputs, **options)

    def page(self, trained: Trained, inputs: Sequence[str], **options: Any) -> str:
        """See `predict.tagged_page`."""
        return tagged_page(trained, inputs, **options)

    def report(self, trained: Trained, examples: Any, evaluation: Evaluation) -> list[Section]:
        """See `report.make_sections`."""
        return make_sections(trained, examples, evaluation)


APPLICATION = Tagging()
