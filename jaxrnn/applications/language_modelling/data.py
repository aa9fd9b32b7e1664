"""From a source of texts to the vocabulary and to examples of token numbers."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxrnn.applications.base import Prepared
from jaxrnn.applications.language_modelling.config import LanguageModellingConfig
from jaxrnn.data import Columns, Ragged, StreamBatches
from jaxrnn.data.text import Corpus, Vocabulary, load_split, load_unlabelled, strip_html, tokenize, truncate
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.training import Devices

logger = logging.getLogger("jaxrnn")

VOCABULARY_FILE = "vocabulary.txt"


@dataclass(frozen=True)
class LanguageAssets:
    """What a run learns from its training texts.

    Attributes:
      vocabulary: The words, numbered by falling frequency after `<unk>`, `<pad>` and `<end>`.
    """

    vocabulary: Vocabulary

    @property
    def end_id(self) -> int:
        """The number of `<end>`, which stands before and after every text."""
        assert self.vocabulary.end_id is not None  # `load` and `prepare` see to it
        return self.vocabulary.end_id

    def save(self, folder: Path) -> None:
        """Writes vocabulary.txt."""
        self.vocabulary.save(folder / VOCABULARY_FILE)

    @classmethod
    def load(cls, folder: Path) -> "LanguageAssets":
        """Reads what `save` wrote; InputError if it is missing or damaged."""
        vocabulary = Vocabulary.load(folder / VOCABULARY_FILE)
        if vocabulary.end_id is None:
            raise InputError(f"{folder / VOCABULARY_FILE}: expected <end> as the first word after <unk> and <pad>")
        return cls(vocabulary)


class TextExamples(Columns):
    """Each text by itself, in a column "tokens": its token numbers between two ends, int32 `[num_words + 2]`.

    Its perplexity so depends on no other text and on no window.

    Attributes:
      texts: The texts as they were read.
      tokens: The token numbers of each text.
    """

    def __init__(self, texts: Sequence[str], tokens: Sequence[np.ndarray]):
        super().__init__({"tokens": Ragged(tokens, padding=Vocabulary.pad_id)}, bucket_by="tokens")
        self.texts = texts
        self.tokens = tokens


def prepare(config: LanguageModellingConfig, *, keep_cache: bool = True) -> Prepared[LanguageAssets]:
    """The vocabulary of the training texts, and the examples of all splits."""
    corpus = _load(config)
    words = {
        split: _words(config, part.texts, is_cached=True, keep=keep_cache) for split, part in corpus.splits.items()
    }
    vocabulary = Vocabulary.build(
        words["train"], max_size=config.data.vocabulary_size or None, min_count=config.data.min_count, with_end=True
    )
    assets = LanguageAssets(vocabulary)
    examples = {
        split: _encode(config, assets, corpus.splits[split].texts, split_words) for split, split_words in words.items()
    }
    return Prepared(assets, examples["train"], examples["validation"], examples["test"])


def load_examples(
    config: LanguageModellingConfig, assets: LanguageAssets, source: str | None, split: str
) -> TextExamples:
    """The texts of one split: of a source, or with None of the run's own data."""
    if source is None:
        texts = _load(config).splits[split].texts
    else:
        texts = load_split(source, split=split, label_names=()).texts
    return encode_texts(config, assets, texts)


def encode_texts(config: LanguageModellingConfig, assets: LanguageAssets, texts: Sequence[str]) -> TextExamples:
    """Examples of any texts. Nothing is read from the cache or written to it."""
    return _encode(config, assets, texts, _words(config, texts))


def split_into_words(config: LanguageModellingConfig, text: str) -> list[str]:
    """The words of one text, as those of the training texts are made."""
    return _words(config, [text])[0]


def stream_batches(
    config: LanguageModellingConfig, assets: LanguageAssets, examples: TextExamples, devices: Devices
) -> StreamBatches:
    """Windows of all training texts in a row."""
    batch_size = min(config.train.batch_size, len(examples))
    batches = StreamBatches(
        [tokens[1:-1] for tokens in examples.tokens],  # the stream puts one end between two texts
        end_id=assets.end_id,
        pad_id=Vocabulary.pad_id,
        batch_size=batch_size,
        window=config.data.window,
        seed=config.seed,
        rows=devices.rows(batch_size),
    )
    logger.info(
        "stream: %d windows of %d x %d tokens in each epoch; vocabulary: %s tokens",
        batches.num_batches, batch_size, batches.shapes[0][1] - 1, f"{len(assets.vocabulary):,}",
    )  # fmt: skip
    return batches


def _load(config: LanguageModellingConfig) -> Corpus:
    return load_unlabelled(config.data.source, **config.split_options)


def _words(
    config: LanguageModellingConfig, texts: Sequence[str], *, is_cached: bool = False, keep: bool = False
) -> list[list[str]]:
    if config.data.strip_html:
        texts = [strip_html(text) for text in texts]
    cache_dir = expand_user(config.data.cache_dir) if is_cached else None
    return tokenize(texts, lowercase=config.data.lowercase, cache_dir=cache_dir, keep=keep)


def _encode(
    config: LanguageModellingConfig, assets: LanguageAssets, texts: Sequence[str], words: Sequence[Sequence[str]]
) -> TextExamples:
    end = np.array([assets.end_id], np.int32)
    numbers = truncate([assets.vocabulary.encode(text) for text in words], config.data.max_tokens)
    return TextExamples(texts, [np.concatenate([end, text, end]) for text in numbers])
