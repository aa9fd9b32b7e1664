"""Turns a config into objects: the only place, with the command lines, that sees one."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxrnn.config import Config, load_config
from jaxrnn.data import (
    NUM_FOLDS,
    BucketedBatches,
    Corpus,
    NGrams,
    StreamBatches,
    Vocabulary,
    WithUnlabelled,
    choose_boundaries,
    folds_of,
    load_corpus,
    load_vectors,
    log_count_ratios,
    strip_html,
    tokenize,
    tokenize_with_spaces,
    truncate,
)
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.memory import check_memory
from jaxrnn.models import TextClassifier
from jaxrnn.settings import split_names
from jaxrnn.training import (
    Checkpoints,
    Devices,
    Evaluation,
    Optimizer,
    Parameters,
    RunFolder,
    ensemble_of,
    make_evaluate,
    make_optimizer,
    split_model,
)

logger = logging.getLogger("jaxrnn")


class Data(NamedTuple):
    """The data of a training run, ready for the model."""

    label_names: tuple[str, ...]  # none: a language model's
    vocabulary: Vocabulary
    train: BucketedBatches | WithUnlabelled | StreamBatches
    validation: BucketedBatches
    test: BucketedBatches
    ratios: np.ndarray | None = None  # of the training texts, see `log_count_ratios`


def build_corpus(config: Config) -> Corpus:
    """The texts and labels of all splits."""
    return load_corpus(
        config.data.source,
        validation_fraction=config.data.validation_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.split_seed,
        max_train_examples=config.data.max_train_examples,
        unlabelled=config.data.unlabelled,
    )


def build_data(config: Config, devices: Devices, *, known: Vocabulary | None = None, keep_tokens: bool = True) -> Data:
    """From the source to batches of token numbers, with the vocabulary of the training texts and the unlabelled ones.

    Args:
      config: the run's.
      devices: what the batches are for; each host builds its own rows of them.
      known: words that the model knows already, which come after those of the training texts.
      keep_tokens: keep the tokens in the cache.
    """
    corpus = build_corpus(config)
    tokens = {split: build_tokens(config, each.texts, keep=keep_tokens) for split, each in corpus.splits.items()}
    read = tokens["train"] + tokens.get("unsupervised", [])  # in training
    vocabulary = Vocabulary.build(
        read,
        max_size=config.data.vocabulary_size or None,
        min_count=config.data.min_count,
        num_pieces=config.data.subwords,
    ).extended(known or Vocabulary([]))
    if config.data.ngrams > 1 or config.model.normalize_embedding:
        vocabulary = vocabulary.counted(
            read,
            longest=config.data.ngrams,
            max_size=config.data.ngram_vocabulary_size or None,
            min_count=config.data.ngram_min_count,
        )
    labels = corpus.splits["train"].labels
    folds = folds_of(labels)
    token_ids = {split: encode(config, vocabulary, each) for split, each in tokens.items()}
    unlabelled = token_ids.pop("unsupervised", [])
    batches = {
        split: bucket(config, ids, corpus.splits[split].labels, devices, folds=folds if split == "train" else None)
        for split, ids in token_ids.items()
    }
    train = batches["train"]
    if config.data.unlabelled:
        # Those without a label have no part in the ratios: they are in any fold. Their labels are of no meaning.
        all_folds = np.concatenate([folds, np.zeros(len(unlabelled), np.int32)])
        no_labels = np.zeros(len(all_folds), np.int32)
        both = token_ids["train"] + unlabelled
        train = WithUnlabelled(train, bucket(config, both, no_labels, devices, folds=all_folds))
    logger.info(
        "batches: %d an epoch, %d shapes, %.1f %% padding; vocabulary: %s tokens%s",
        *(train.num_batches, len(train.shapes), 100 * batches["train"].padding, f"{len(vocabulary):,}"),
        f", {len(vocabulary.ngrams):,} runs of up to {vocabulary.ngrams.longest}" if len(vocabulary.ngrams) else "",
    )
    ratios = None
    if config.model.has_ratios:
        ratios = log_count_ratios(
            token_ids["train"],
            labels,
            folds,
            num_classes=len(corpus.label_names),
            num_words=len(vocabulary),
            num_ngrams=len(vocabulary.ngrams),
        )
    return Data(corpus.label_names, vocabulary, train, batches["validation"], batches["test"], ratios)


def build_tokens(config: Config, texts: Sequence[str], *, cached: bool = True, keep: bool = True) -> list[list[str]]:
    """The tokens of each text, if `cached` from the cache where they are there, and kept in it if `keep`."""
    if config.data.strip_html:
        texts = [strip_html(text) for text in texts]
    cache_dir = expand_user(config.data.cache_dir) if cached else None
    return tokenize(texts, lowercase=config.data.lowercase, cache_dir=cache_dir, keep=keep)


def encode(config: Config, vocabulary: Vocabulary, tokens: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """The numbers of the tokens that the model reads of each text."""
    return truncate(
        [vocabulary.encode(text) for text in tokens],
        config.data.max_tokens,
        keep=config.data.truncate,
        head_fraction=config.data.head_fraction,
    )


def bucket(
    config: Config,
    token_ids: Sequence[np.ndarray],
    labels: np.ndarray,
    devices: Devices,
    *,
    folds: np.ndarray | None = None,
) -> BucketedBatches:
    """Batches of these token numbers, padded to lengths chosen for them."""
    batch_size = min(config.train.batch_size, len(token_ids))
    lengths = [len(ids) for ids in token_ids]
    return BucketedBatches(
        token_ids,
        labels,
        folds=folds,
        boundaries=choose_boundaries(lengths, batch_size=batch_size, max_shapes=config.data.max_shapes),
        batch_size=batch_size,
        seed=config.seed,
        pad_id=Vocabulary.pad_id,
        rows=devices.rows(batch_size),
    )


def count_steps(config: Config, train: BucketedBatches | WithUnlabelled | StreamBatches) -> int:
    """Steps of the whole run, unless it stops early."""
    steps = config.train.epochs * train.num_batches
    return steps if config.train.max_steps is None else min(steps, config.train.max_steps)


def build_devices(config: Config) -> Devices:
    """The devices of all processes; InputError if there are not so many."""
    devices = config.devices
    try:
        return Devices.of(devices.per_process, model_parallel=devices.model_parallel, divide=devices.divide)
    except ValueError as error:
        raise InputError(f"devices.{error}") from error


def build_model(config: Config, vocabulary: Vocabulary, *, num_classes: int) -> TextClassifier:
    """The classifier with its first weights, which the seed alone decides."""
    return TextClassifier(
        vocabulary_size=len(vocabulary),
        num_classes=num_classes,
        embedding_features=config.model.embedding,
        num_ngrams=len(vocabulary.ngrams),
        longest_ngram=vocabulary.ngrams.longest,
        ngram_features=config.model.ngram_features,
        ratio_inputs=config.model.ratio_inputs,
        bag_of_words=config.model.bag_of_words,
        num_folds=NUM_FOLDS,
        frequencies=_frequencies(config, vocabulary),
        cell=config.model.cell,
        hidden_features=config.model.hidden,
        num_layers=config.model.num_layers,
        bidirectional=config.model.bidirectional,
        dropout_rate=config.model.dropout_rate,
        embedding_dropout_rate=config.model.embedding_dropout_rate,
        word_dropout_rate=config.model.word_dropout_rate,
        pooling=cast(Any, split_names(config.model.pooling)),
        attention=config.model.attention,
        init=config.model.init,
        double_bias=config.model.double_bias,
        dtype=None if config.model.dtype == "float32" else jnp.dtype(config.model.dtype),
        # The rows of a bucket end nearly together: on a CPU, leaving out those that have ended would not be faster.
        backend="fused_scan" if jax.default_backend() == "cpu" else None,
        rngs=nnx.Rngs(config.seed),
    )


def _frequencies(config: Config, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray] | None:
    """How often words and runs of words occur, where their vectors are to be normalised."""
    if not config.model.normalize_embedding:
        return None
    if vocabulary.counts is None:
        raise InputError("model.normalize_embedding: expected a vocabulary.txt with counts, it has none")
    specials = [0] * NGrams.num_specials
    return np.array(vocabulary.counts), np.array([*specials, *vocabulary.ngrams.counts.values()])


def with_ratios(parameters: Parameters, data: Data) -> Parameters:
    """The parameters with the training texts' log-count ratios, if there is a place for them."""
    return parameters if data.ratios is None else parameters | {"ratios.table": jnp.asarray(data.ratios)}


def with_vectors(config: Config, parameters: Parameters, vocabulary: Vocabulary) -> Parameters:
    """The parameters with pretrained vectors in the embedding.

    Words without a vector keep their random one, and the specials `<unk>` and `<pad>` are zero.
    """
    if config.vectors.path is None:
        return parameters
    vectors = load_vectors(config.vectors.path, vocabulary.words, features=config.model.embedding)
    num_specials = len(vocabulary) - len(vocabulary.words)
    embedding = parameters["embedding.embedding"]
    words = jnp.where(vectors.found[:, None], vectors.matrix, embedding[num_specials:])
    return parameters | {"embedding.embedding": embedding.at[:num_specials].set(0).at[num_specials:].set(words)}


def build_optimizer(config: Config, *, num_steps: int) -> Optimizer:
    """The optimiser of a run of so many steps; InputError if its schedule does not fit in."""
    optim = config.optim
    try:
        return make_optimizer(
            rule=optim.optimizer,
            learning_rate=optim.learning_rate,
            num_steps=num_steps,
            schedule=optim.schedule,
            warmup_steps=optim.warmup_steps,
            plateau_patience=optim.plateau_patience,
            plateau_factor=optim.plateau_factor,
            momentum=optim.momentum,
            weight_decay=optim.weight_decay,
            decay_embedding=optim.decay_embedding,
            max_grad_norm=optim.max_grad_norm,
            accumulate_steps=optim.accumulate_steps,
            ema_decay=optim.ema_decay,
            average_epochs=optim.average_epochs,
        )
    except ValueError as error:
        raise InputError(f"optim.{error}") from error


class Classifier(NamedTuple):
    """A trained classifier, as its run's folder holds it, or several that predict together."""

    config: Config
    label_names: tuple[str, ...]
    vocabulary: Vocabulary
    parameters: Parameters
    best_step: int
    others: tuple[Parameters, ...] = ()  # of the other members of an ensemble

    def build_model(self) -> TextClassifier:
        """The model, with its first weights instead of the trained ones."""
        return build_model(self.config, self.vocabulary, num_classes=len(self.label_names))

    def tokenize(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of each text. Nothing is written: a folder may come from anyone."""
        return build_tokens(self.config, texts, cached=False)

    def evaluate(self, texts: Sequence[str], labels: np.ndarray) -> Evaluation:
        """Loss, right answers and logits of texts with labels."""
        return self.evaluate_tokens(self.tokenize(texts), labels)

    def evaluate_tokens(self, tokens: Sequence[Sequence[str]], labels: np.ndarray) -> Evaluation:
        """Loss, right answers and logits of texts that are cut into tokens."""
        devices = Devices.of(1)
        batches = bucket(self.config, encode(self.config, self.vocabulary, tokens), labels, devices)
        model, parameters = split_model(self.build_model()), self.parameters
        if self.others:
            model = ensemble_of(model, [parameters, *self.others])
            parameters = model.parameters
        return make_evaluate(model, devices=devices)(parameters, batches.in_order())

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Logits `[num_texts, classes]` of texts."""
        return self.evaluate(texts, np.zeros(len(texts), np.int32)).logits

    def encode(self, tokens: Sequence[Sequence[str]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The numbers of the tokens that the model reads of each text, and their places in it."""
        data = self.config.data
        cut = partial(truncate, max_tokens=data.max_tokens, keep=data.truncate, head_fraction=data.head_fraction)
        return cut([self.vocabulary.encode(text) for text in tokens]), cut([np.arange(len(text)) for text in tokens])

    def tokenize_with_spaces(self, texts: Sequence[str]) -> list[list[tuple[str, str]]]:
        """The tokens as they stand in each text, each with the space that follows it."""
        return tokenize_with_spaces(list(map(strip_html, texts)) if self.config.data.strip_html else texts)


def load_classifier(run_dir: Path) -> Classifier:
    """The best checkpoint of a run, with all it needs; InputError if the folder holds none."""
    folder = RunFolder.open(run_dir)
    config = load_config(folder.config, [])
    check_task(run_dir, config, "classification")
    label_names, vocabulary = folder.read_labels(), Vocabulary.load(folder.vocabulary)
    if not label_names:
        raise InputError(f"{run_dir}: expected the folder of a run, but it has no {folder.labels.name}")
    check_memory(config, num_tokens=len(vocabulary), num_ngrams=len(vocabulary.ngrams), copies=1)
    model = build_model(config, vocabulary, num_classes=len(label_names))
    checkpoints = Checkpoints(folder.checkpoints, read_only=True)
    parameters, best_step = checkpoints.restore_best(split_model(model).parameters)
    checkpoints.close()
    return Classifier(config, label_names, vocabulary, parameters, best_step)


def check_task(run_dir: Path, config: Config, expected: str) -> None:
    """Raises InputError if a run is not of this task."""
    if config.task != expected:
        raise InputError(f"{run_dir}: expected a run of {expected}, it is one of {config.task}")
