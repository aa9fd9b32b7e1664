"""From a source of texts to examples, and what a run learns from its training texts on the way."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrnn.applications.base import Prepared
from jaxrnn.applications.classification.config import ClassificationConfig
from jaxrnn.applications.classification.ngrams import NGrams
from jaxrnn.applications.classification.pretrained import pretrained_vocabulary
from jaxrnn.applications.classification.ratios import (
    folds_of,
    load_ratios,
    log_count_ratios,
    num_rows,
    rows_of,
    save_ratios,
)
from jaxrnn.data import Columns, Ragged
from jaxrnn.data.examples import Column
from jaxrnn.data.text import Corpus, Vocabulary, load_corpus, load_split, strip_html, tokenize, truncate
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user, replacing

logger = logging.getLogger("jaxrnn")


@dataclass(frozen=True, eq=False)
class ClassificationAssets:
    """What a run learns from its training texts before training.

    Attributes:
      label_names: The name of each class number.
      vocabulary: The words.
      ngrams: The n-grams; there are none unless `data.ngrams` asks for them.
      ratios: The table of log-count ratios, see `log_count_ratios`; None if the model uses none.
    """

    label_names: tuple[str, ...]
    vocabulary: Vocabulary
    ngrams: NGrams = field(default_factory=NGrams)
    ratios: np.ndarray | None = None

    @property
    def num_outputs(self) -> int:
        """Number of logits: two classes share one."""
        return 1 if len(self.label_names) == 2 else len(self.label_names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClassificationAssets):
            return NotImplemented
        if (self.label_names, self.vocabulary, self.ngrams) != (other.label_names, other.vocabulary, other.ngrams):
            return False
        if self.ratios is None or other.ratios is None:
            return self.ratios is other.ratios
        return np.array_equal(self.ratios, other.ratios)

    __hash__ = None  # type: ignore[assignment]

    def save(self, folder: Path) -> None:
        """Writes labels.json and vocabulary.txt, and where there are some ngrams.txt and ratios.safetensors."""
        with replacing(folder / "labels.json") as temporary:
            text = json.dumps(self.label_names, indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        self.vocabulary.save(folder / "vocabulary.txt")
        if len(self.ngrams):
            self.ngrams.save(folder / "ngrams.txt", self.vocabulary)
        if self.ratios is not None:
            save_ratios(folder / "ratios.safetensors", self.ratios)

    @classmethod
    def load(cls, folder: Path) -> "ClassificationAssets":
        """Reads what `save` wrote; InputError if a file is missing or damaged."""
        labels, vocabulary = _load_labels(folder / "labels.json"), Vocabulary.load(folder / "vocabulary.txt")
        path = folder / "ngrams.txt"
        assets = cls(labels, vocabulary, NGrams.load(path, vocabulary) if path.exists() else NGrams())
        path = folder / "ratios.safetensors"
        if not path.exists():
            return assets
        rows = num_rows(vocabulary, assets.ngrams)
        return replace(assets, ratios=load_ratios(path, num_rows=rows, num_outputs=assets.num_outputs))


class TextExamples(Columns):
    """Examples with the texts that they were made from.

    Args:
      columns: The arrays by name, see `encode`.
      texts: The texts as they were read.
      positions: Which tokens of each text the model reads, `[num_tokens]` for each text.
      num_tokens: Tokens of each text, also those that are not read, `[num_texts]`.
    """

    def __init__(
        self,
        columns: dict[str, Column],
        texts: Sequence[str],
        positions: Sequence[np.ndarray],
        num_tokens: np.ndarray,
    ):
        super().__init__(columns, bucket_by="tokens")
        self.texts = texts
        self.positions = positions
        self.num_tokens = num_tokens


def prepare(config: ClassificationConfig, *, keep_cache: bool = True) -> Prepared[ClassificationAssets]:
    """The data of a training run; see `Application.prepare`."""
    corpus = load_texts(config)
    tokens = {split: _tokenize(config, each.texts, keep=keep_cache) for split, each in corpus.splits.items()}
    vocabulary = Vocabulary.build(
        tokens["train"], max_size=config.data.vocabulary_size or None, min_count=config.data.min_count
    ).extended(pretrained_vocabulary(config))
    ngrams = NGrams()
    if config.data.ngrams > 1:
        ngrams = NGrams.build(
            [vocabulary.encode(text).tolist() for text in tokens["train"]],
            first_word=len(vocabulary) - len(vocabulary.words),
            longest=config.data.ngrams,
            max_size=config.data.ngram_vocabulary_size or None,
            min_count=config.data.ngram_min_count,
        )
    logger.info(
        "data: the vocabulary has %s tokens%s",
        f"{len(vocabulary):,}",
        f" and {len(ngrams):,} n-grams of up to {ngrams.longest} words" if len(ngrams) else "",
    )
    assets = ClassificationAssets(corpus.label_names, vocabulary, ngrams)
    encoded = {split: _encode(config, assets, each) for split, each in tokens.items()}
    columns = {split: each.columns(corpus.splits[split].labels) for split, each in encoded.items()}
    rows, labels = encoded["train"].rows, corpus.splits["train"].labels
    if rows is not None:
        folds = folds_of(labels)
        columns["train"]["fold"] = folds
        ratios = log_count_ratios(
            rows,
            labels,
            folds,
            num_classes=len(corpus.label_names),
            num_words=len(vocabulary),
            num_ngrams=len(ngrams),
        )
        assets = replace(assets, ratios=ratios)
    return Prepared(assets, **{split: Columns(each, bucket_by="tokens") for split, each in columns.items()})


def load_examples(
    config: ClassificationConfig, assets: ClassificationAssets, source: str | None, split: str
) -> TextExamples:
    """The examples of one split; see `Application.examples`."""
    if source is not None:
        texts = load_split(source, split=split, label_names=assets.label_names)
        return encode(config, assets, texts.texts, texts.labels)
    corpus = load_texts(config)
    if corpus.label_names != assets.label_names:
        raise InputError(
            f"data.source {config.data.source!r}: has the classes {', '.join(corpus.label_names)}, and the run "
            f"{', '.join(assets.label_names)}; give the run's own data"
        )
    return encode(config, assets, corpus.splits[split].texts, corpus.splits[split].labels)


def encode(
    config: ClassificationConfig,
    assets: ClassificationAssets,
    texts: Sequence[str],
    labels: np.ndarray | None = None,
) -> TextExamples:
    """Examples of texts, to evaluate a trained model on. Nothing is read from a cache or written to one.

    Args:
      config: The run's.
      assets: The run's.
      texts: The texts.
      labels: The class number of each text, `[num_texts]`; None: they are not known.

    Returns:
      Examples with the columns "tokens" (the words' numbers), "label" (0 where it is not known) and, if the model uses
      ratios, "rows" (see `rows_of`).
    """
    tokens = _tokenize(config, texts, cached=False)
    labels = np.zeros(len(texts), np.int32) if labels is None else labels
    encoded = _encode(config, assets, tokens)
    num_tokens = np.array([len(text) for text in tokens], np.int32)
    return TextExamples(encoded.columns(labels), texts, encoded.positions, num_tokens)


def readable(config: ClassificationConfig, texts: Sequence[str]) -> list[str]:
    """The texts as they are tokenised: without HTML, if the run removes it."""
    return [strip_html(text) for text in texts] if config.data.strip_html else list(texts)


def load_texts(config: ClassificationConfig) -> Corpus:
    """The texts and labels of all splits."""
    return load_corpus(config.data.source, **config.split_options)


def _tokenize(
    config: ClassificationConfig, texts: Sequence[str], *, cached: bool = True, keep: bool = True
) -> list[list[str]]:
    cache_dir = expand_user(config.data.cache_dir) if cached else None
    return tokenize(readable(config, texts), lowercase=config.data.lowercase, cache_dir=cache_dir, keep=keep)


class _Encoded(NamedTuple):
    """What the model reads of each text: the numbers of tokens, rows of ratios if it uses them, and which tokens."""

    token_ids: list[np.ndarray]
    rows: list[np.ndarray] | None
    positions: list[np.ndarray]

    def columns(self, labels: np.ndarray) -> dict[str, Column]:
        """The columns of examples."""
        columns: dict[str, Column] = {"tokens": Ragged(self.token_ids, Vocabulary.pad_id), "label": labels}
        return columns if self.rows is None else columns | {"rows": Ragged(self.rows, Vocabulary.pad_id)}


def _encode(config: ClassificationConfig, assets: ClassificationAssets, tokens: Sequence[Sequence[str]]) -> _Encoded:
    positions = truncate(
        [np.arange(len(text)) for text in tokens],
        config.data.max_tokens,
        keep=config.data.truncate,
        head_fraction=config.data.head_fraction,
    )
    token_ids = [assets.vocabulary.encode(text) for text in tokens]
    rows = None
    if config.model.has_ratios:  # the n-grams are those of the whole text, also where it is cut
        rows = _take([rows_of(ids, assets.vocabulary, assets.ngrams) for ids in token_ids], positions)
    return _Encoded(_take(token_ids, positions), rows, positions)


def _take(arrays: Sequence[np.ndarray], positions: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [array[chosen] for array, chosen in zip(arrays, positions, strict=True)]


def _load_labels(path: Path) -> tuple[str, ...]:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
            raise ValueError
    except OSError as error:
        raise InputError(f"{path}: the names of the classes cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a list of the names of two or more classes; the file is something else or damaged"
        ) from error
    return tuple(names)
