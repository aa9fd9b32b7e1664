"""From a source of tagged sentences to examples, and what a run learns from its training sentences on the way."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.applications.base import Prepared
from jaxrnn.applications.tagging.config import TaggingConfig
from jaxrnn.applications.tagging.conll import Sentence
from jaxrnn.applications.tagging.features import Encoder, WordVectors, shape
from jaxrnn.applications.tagging.schemes import (
    OUTSIDE,
    PREFIXES,
    InnerScheme,
    Legal,
    SchemeName,
    convert,
    legal_transitions,
    recognise_scheme,
    split_tag,
)
from jaxrnn.applications.tagging.sources import Sentences, read_splits
from jaxrnn.data import Columns, Ragged, complete_splits, pick_split
from jaxrnn.data.examples import Column
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.files import replacing

logger = logging.getLogger("jaxrnn")

UNSEEN = "(unseen)"  # the type of spans, or the plain tag, that the training sentences do not have


@dataclass(frozen=True)
class TaggingAssets:
    """What a run learns from its training sentences before training.

    Attributes:
      scheme: The scheme that the data's tags are written in. The model's are BIOES where there are spans.
      tags: The model's tags, in the order of their numbers. Where there are spans, O and all tags of BIOES for each
        type that occurs.
      words: The lower-cased words that have trained vectors.
      shapes: The words' shapes that have trained vectors; see `features.shape`.
      characters: The characters that have trained vectors.
      vectors: The pretrained vectors; None where there are none.
    """

    scheme: SchemeName
    tags: tuple[str, ...]
    words: Vocabulary
    shapes: Vocabulary
    characters: Vocabulary
    vectors: WordVectors | None = None

    @property
    def has_spans(self) -> bool:
        """Whether tags mark spans, such as names."""
        return self.scheme != "plain"

    @property
    def inner_scheme(self) -> InnerScheme:
        """The scheme of the model's tags."""
        return "BIOES" if self.has_spans else "plain"

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The types of spans, sorted, and after them `UNSEEN`; none where tags are plain."""
        return (*_types_of(self.tags), UNSEEN) if self.has_spans else ()

    @cached_property
    def all_tags(self) -> tuple[str, ...]:
        """The model's tags and, after them, those that stand for all others, which the model never gives."""
        return (*self.tags, *(_span_tags([UNSEEN]) if self.has_spans else [UNSEEN]))

    @cached_property
    def legal(self) -> Legal:
        """Which of the model's tags may follow each other."""
        return legal_transitions(self.tags, self.inner_scheme)

    @property
    def outside(self) -> int | None:
        """The number of the tag of tokens in no span; None where tags are plain."""
        return self.tags.index(OUTSIDE) if self.has_spans else None

    def number(self, tags: Sequence[str]) -> tuple[np.ndarray, int]:
        """Numbers the tags of a sentence of the data.

        Returns:
          The number of each tag in `all_tags`, int32 `[num_tokens]`; and how many of the given tags contradict the
          data's scheme and were repaired.
        """
        converted, num_repaired = convert(tags, self.scheme, self.inner_scheme)
        pairs = zip(tags, converted, strict=True)
        return np.array([self._number(given, tag) for given, tag in pairs], np.int32), num_repaired

    def _number(self, given: str, converted: str) -> int:
        if not self.has_spans:
            return self._numbers.get(given, self._numbers[UNSEEN])
        is_bare = converted == OUTSIDE != given  # a tag without a prefix, for which the scheme has no place
        name = f"S-{UNSEEN}" if is_bare else converted
        return self._numbers[name if name in self._numbers else f"{split_tag(name)[0]}-{UNSEEN}"]

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {tag: number for number, tag in enumerate(self.all_tags)}

    def save(self, folder: Path) -> None:
        """Writes tags.json, vocabulary.txt, shapes.txt and characters.txt, and where there are vectors theirs."""
        with replacing(folder / "tags.json") as temporary:
            content = {"scheme": self.scheme, "tags": self.tags}
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        self.words.save(folder / "vocabulary.txt")
        self.shapes.save(folder / "shapes.txt")
        self.characters.save(folder / "characters.txt")
        if self.vectors is not None:
            self.vectors.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "TaggingAssets":
        """Reads what `save` wrote; InputError if a file is missing or damaged."""
        scheme, tags = _load_tags(folder / "tags.json")
        names = ("vocabulary.txt", "shapes.txt", "characters.txt")
        words, shapes, characters = (Vocabulary.load(folder / name) for name in names)
        vectors = WordVectors.load(folder) if WordVectors.is_in(folder) else None
        return cls(scheme, tags, words, shapes, characters, vectors)


class TaggedExamples(Columns):
    """Examples with the sentences that they were made from.

    Args:
      columns: The arrays by name, see `encode`.
      sentences: The sentences.
    """

    def __init__(self, columns: Mapping[str, Column], sentences: Sequence[Sentence]):
        super().__init__(columns, bucket_by="words")
        self.sentences = sentences


def prepare(config: TaggingConfig) -> Prepared[TaggingAssets]:
    """The data of a training run; see `Application.prepare`."""
    splits = _load_splits(config)
    train = splits["train"].sentences
    scheme = recognise_scheme([sentence.tags for sentence in train])
    tags = {tag for sentence in train for tag in sentence.tags}
    if scheme != "plain":
        tags = {OUTSIDE, *_span_tags(_types_of(tags))}
    if len(tags) < 2:
        raise InputError(
            f"data.source {config.data.source!r}: expected two or more different tags, found {', '.join(tags)}"
        )
    tokens = [sentence.tokens for sentence in train]
    vectors = config.vectors
    assets = TaggingAssets(
        scheme=scheme,
        tags=tuple(sorted(tags)),
        words=Vocabulary.build(
            [[token.lower() for token in sentence] for sentence in tokens],
            max_size=None if config.model.word_features else 0,
            min_count=config.data.min_count,
        ),
        shapes=Vocabulary.build(
            [[shape(token) for token in sentence] for sentence in tokens],
            max_size=None if config.model.shape_features else 0,
            min_count=config.data.min_count,
        ),
        characters=Vocabulary.build([token for sentence in tokens for token in sentence], max_size=None),
        vectors=None
        if vectors.path is None
        else WordVectors.read(vectors.path, features=vectors.features, max_words=vectors.max_words),
    )
    logger.info(
        "data: %d tags%s; the vocabulary has %s words and %s characters",
        *(len(tags), "" if scheme == "plain" else f" of spans in the scheme {scheme}, read as BIOES"),
        *(f"{len(assets.words):,}", f"{len(assets.characters):,}"),
    )
    encoded = {split: encode(config, assets, each.sentences, split) for split, each in splits.items()}
    return Prepared(assets, **encoded)


def load_examples(config: TaggingConfig, assets: TaggingAssets, source: str | None, split: str) -> TaggedExamples:
    """The examples of one split; see `Application.examples`."""
    if source is None:
        sentences = _load_splits(config)[split]
    else:
        sentences = pick_split(read_splits(config.data, source), split, source)
    return encode(config, assets, sentences.sentences, split)


def encode(config: TaggingConfig, assets: TaggingAssets, sentences: Sequence[Sentence], name: str) -> TaggedExamples:
    """Examples of sentences.

    Args:
      config: The run's.
      assets: The run's.
      sentences: The sentences. Those without tags get the number 0 for each of them.
      name: What they are, for messages.

    Returns:
      Examples with the columns "words", "shapes", "characters", "tags" and, if the model has pretrained vectors,
      "vectors"; see `Encoder` and `TaggingAssets.number`.
    """
    encoder = Encoder(assets.words, assets.shapes, assets.characters, assets.vectors, config.data.max_characters)
    encoded = [encoder(sentence.tokens) for sentence in sentences]
    columns: dict[str, Column] = {
        "words": Ragged([each.words for each in encoded], Vocabulary.pad_id),
        "shapes": Ragged([each.shapes for each in encoded], Vocabulary.pad_id),
        "characters": Ragged([each.characters for each in encoded], Vocabulary.pad_id),
        "tags": Ragged(_number_tags(assets, sentences, name)),
    }
    if assets.vectors is not None:
        columns["vectors"] = Ragged([each.vectors for each in encoded if each.vectors is not None], Vocabulary.pad_id)
    return TaggedExamples(columns, sentences)


def _number_tags(assets: TaggingAssets, sentences: Sequence[Sentence], name: str) -> list[np.ndarray]:
    numbers, num_repaired = [], 0
    unseen: Counter[str] = Counter()
    for tokens, tags in sentences:
        if not tags:
            numbers.append(np.zeros(len(tokens), np.int32))
            continue
        of_sentence, repaired = assets.number(tags)
        numbers.append(of_sentence)
        num_repaired += repaired
        unseen.update(tag for tag, number in zip(tags, of_sentence, strict=True) if number >= len(assets.tags))
    num_tags = sum(map(len, numbers))
    if num_repaired:
        logger.warning(
            "data: %d of %d tags in %s contradict the scheme %s, such as I-X without a B-X before, and were repaired",
            *(num_repaired, num_tags, name, assets.scheme),
        )
    if unseen:
        logger.warning(
            "data: %d of %d tags in %s were never seen in training and count as wrong: %s",
            *(unseen.total(), num_tags, name, ", ".join(f"{tag} ({count})" for tag, count in unseen.most_common(10))),
        )
    return numbers


def _load_splits(config: TaggingConfig) -> dict[str, Sentences]:
    source = config.data.source
    splits = read_splits(config.data, source)
    if "train" not in splits:
        raise InputError(f"data.source {source!r}: has no train split, only {', '.join(splits)}; add one")
    return complete_splits(splits, **config.split_options)


def _types_of(tags: Iterable[str]) -> list[str]:
    return sorted({split_tag(tag)[1] for tag in tags} - {""})


def _span_tags(types: Iterable[str]) -> list[str]:
    """All tags of the model for spans of these types."""
    return [f"{prefix}-{name}" for name in types for prefix in PREFIXES["BIOES"]]


def _load_tags(path: Path) -> tuple[SchemeName, tuple[str, ...]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        scheme, tags = content["scheme"], content["tags"]
        is_known = scheme == "plain" or (scheme in PREFIXES and OUTSIDE in tags)
        if not is_known or len({*tags}) < max(2, len(tags)) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError
    except OSError as error:
        raise InputError(f"{path}: the tags cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a scheme and a list of two or more tags; the file is something else or damaged"
        ) from error
    return scheme, tuple(tags)
