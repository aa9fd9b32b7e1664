"""The settings of tagging. Their defaults find the parts of speech of Turkish words."""

from dataclasses import dataclass
from typing import Literal

from jaxrnn.config import DataConfig, ModelConfig, RunConfig, option
from jaxrnn.config.schema import COUNT, NOT_NEGATIVE, NOT_NEGATIVE_COUNT, RATE, TEXT


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggingDataConfig(DataConfig):
    """Which sentences are used, and how they become numbers."""

    source: str = option(
        "turkish-treebanks",
        "Hub name, folder or file with tagged sentences; turkish-treebanks is a package with parts of speech",
        TEXT,
    )
    token_column: str | None = option(
        None, "Column of the tokens: a number from 1 in CoNLL files, a name in tables; none is 1 and tokens", TEXT
    )
    tag_column: str | None = option(
        None,
        "Column of the tags: a number from 1, or a name in CoNLL-U and tables; none is the last, upos and tags",
        TEXT,
    )
    min_count: int = option(
        2, "Occurrences that a training word, or a shape, needs for a trained vector of its own", COUNT
    )
    max_characters: int = option(
        20, "Characters that are read of a word; a longer one is read without its middle", COUNT
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorsConfig:
    """Pretrained word vectors, which are not trained."""

    path: str | None = option(
        None, "GloVe .txt, .gz or .zip file of word vectors; none gives the model no pretrained vectors", TEXT
    )
    features: int = option(100, "Numbers of each pretrained vector", COUNT)
    max_words: int = option(100_000, "Number of words that are taken from the beginning of the file", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggingModelConfig(ModelConfig):
    """Words and their characters, bidirectional layers, and a decoder."""

    hidden: int = option(128, "Hidden units in each direction of each layer", COUNT)
    word_features: int = option(64, "Features of a word's trained vector; 0 trains none", NOT_NEGATIVE_COUNT)
    shape_features: int = option(
        16, "Features of the trained vector of a word's shape, such as Xxx of Ada; 0 trains none", NOT_NEGATIVE_COUNT
    )
    character_features: int = option(32, "Features of a character's vector", COUNT)
    character_hidden: int = option(
        32, "Hidden units in each direction of the layer that reads a word's characters", COUNT
    )
    word_dropout_rate: float = option(0.0, "Share of words of which training reads shape and characters alone", RATE)
    decoder: Literal["softmax", "crf"] = option(
        "crf", "How tags are scored: each by itself, or by a conditional random field"
    )
    outside_penalty: float = option(
        0.0, "What the tag O loses of its score where tags are decoded; more finds more spans", NOT_NEGATIVE
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggingConfig(RunConfig):
    """A run that learns to tag the tokens of sentences."""

    task: str = option("tagging", "Application that is trained", TEXT)
    run_dir: str = option("runs/tagging", "Folder that receives all results", TEXT)
    data: TaggingDataConfig = TaggingDataConfig()
    vectors: VectorsConfig = VectorsConfig()
    model: TaggingModelConfig = TaggingModelConfig()
