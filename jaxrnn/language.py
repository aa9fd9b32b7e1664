"""Turns a config into the objects of a language model, as `jaxrnn.build` does into those of a classifier."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrnn import build
from jaxrnn.config import Config, load_config
from jaxrnn.data import BucketedBatches, Corpus, StreamBatches, Vocabulary, load_texts, truncate
from jaxrnn.errors import InputError
from jaxrnn.models import LanguageModel
from jaxrnn.tasks import language_modelling
from jaxrnn.training import Checkpoints, Devices, Evaluation, Parameters, RunFolder, make_evaluate, split_model

logger = logging.getLogger("jaxrnn")


def build_corpus(config: Config) -> Corpus:
    """The texts of all splits."""
    return load_texts(
        config.data.source,
        validation_fraction=config.data.validation_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.split_seed,
        max_train_examples=config.data.max_train_examples,
    )


def build_data(
    config: Config, devices: Devices, *, known: Vocabulary | None = None, keep_tokens: bool = True
) -> build.Data:
    """From the source to windows of a stream for training, and whole texts for validation and test.

    Args:
      config: the run's.
      devices: what the batches are for; each host builds its own rows of them.
      known: words that the model knows already, which come after those of the training texts.
      keep_tokens: keep the tokens in the cache.
    """
    corpus = build_corpus(config)
    tokens = {split: build.build_tokens(config, each.texts, keep=keep_tokens) for split, each in corpus.splits.items()}
    vocabulary = Vocabulary.build(
        tokens["train"], max_size=config.data.vocabulary_size or None, min_count=config.data.min_count, with_end=True
    ).extended(known or Vocabulary([]))
    train = build_stream(config, vocabulary, tokens["train"], devices)
    logger.info(
        "stream: %d windows of %d x %d tokens an epoch; vocabulary: %s tokens",
        *(train.num_batches, train.shapes[0][0], config.train.window, f"{len(vocabulary):,}"),
    )
    whole = {split: build_texts(config, vocabulary, tokens[split], devices) for split in ("validation", "test")}
    return build.Data((), vocabulary, train, whole["validation"], whole["test"])


def build_stream(
    config: Config, vocabulary: Vocabulary, tokens: Sequence[Sequence[str]], devices: Devices
) -> StreamBatches:
    """Windows of all texts in a row."""
    token_ids = truncate([vocabulary.encode(text) for text in tokens], config.data.max_tokens)
    batch_size = min(config.train.batch_size, len(token_ids))
    return StreamBatches(
        token_ids,
        end_id=_end_id(vocabulary),
        batch_size=batch_size,
        window=config.train.window,
        seed=config.seed,
        rows=devices.rows(batch_size),
    )


def build_texts(
    config: Config, vocabulary: Vocabulary, tokens: Sequence[Sequence[str]], devices: Devices
) -> BucketedBatches:
    """Each text by itself, between two ends: its perplexity depends on no other text and on no window."""
    end = np.array([_end_id(vocabulary)], np.int32)
    token_ids = truncate([vocabulary.encode(text) for text in tokens], config.data.max_tokens)
    token_ids = [np.concatenate([end, ids, end]) for ids in token_ids]
    return build.bucket(config, token_ids, np.zeros(len(token_ids), np.int32), devices)


def build_model(config: Config, vocabulary: Vocabulary) -> LanguageModel:
    """The language model with its first weights, which the seed alone decides."""
    return LanguageModel(
        vocabulary_size=len(vocabulary),
        end_id=_end_id(vocabulary),
        embedding_features=config.model.embedding,
        cell=config.model.cell,
        hidden_features=config.model.hidden,
        num_layers=config.model.num_layers,
        dropout_rate=config.model.dropout_rate,
        init=config.model.init,
        double_bias=config.model.double_bias,
        dtype=None if config.model.dtype == "float32" else jnp.dtype(config.model.dtype),
        rngs=nnx.Rngs(config.seed),
    )


class Language(NamedTuple):
    """A trained language model, as its run's folder holds it."""

    config: Config
    label_names: tuple[str, ...]  # none
    vocabulary: Vocabulary
    parameters: Parameters
    best_step: int

    def model(self) -> LanguageModel:
        """The model with its trained weights, without dropout."""
        model = split_model(build_model(self.config, self.vocabulary)).merge(self.parameters)
        model.eval()
        return model

    def evaluate(self, texts: Sequence[str], labels: np.ndarray) -> Evaluation:
        """The loss of the texts' words; labels count for nothing. Nothing is written."""
        devices = Devices.of(1)
        tokens = build.build_tokens(self.config, texts, cached=False)
        batches = build_texts(self.config, self.vocabulary, tokens, devices)
        model = split_model(build_model(self.config, self.vocabulary))
        return make_evaluate(model, devices=devices, task=language_modelling())(self.parameters, batches.in_order())


def load_language_model(run_dir: Path) -> Language:
    """The best checkpoint of a run, with all it needs; InputError if the folder holds none."""
    folder = RunFolder.open(run_dir)
    config = load_config(folder.config, [])
    build.check_task(run_dir, config, "language_modelling")
    vocabulary = Vocabulary.load(folder.vocabulary)
    build.check_memory(config, num_tokens=len(vocabulary), copies=1)
    checkpoints = Checkpoints(folder.checkpoints, read_only=True)
    parameters, best_step = checkpoints.restore_best(split_model(build_model(config, vocabulary)).parameters)
    checkpoints.close()
    return Language(config, (), vocabulary, parameters, best_step)


def _end_id(vocabulary: Vocabulary) -> int:
    if vocabulary.end_id is None:  # the folder of a run, edited
        raise InputError("vocabulary.txt: expected <end> as the first word of a language model's vocabulary")
    return vocabulary.end_id
