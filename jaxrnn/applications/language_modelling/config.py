"""The settings of a language model's run."""

from dataclasses import dataclass

from jaxrnn.config import DataConfig, ModelConfig, RunConfig, option
from jaxrnn.config.schema import COUNT, NOT_NEGATIVE_COUNT, TEXT


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageDataConfig(DataConfig):
    """Which texts are read, and how they become words."""

    source: str = option(
        "bbc-news", "Hub name, folder or file with the texts; bbc-news comes with a package and needs no download", TEXT
    )
    strip_html: bool = option(False, "Remove HTML tags such as <br />, and replace character references such as &amp;")
    lowercase: bool = option(True, "Convert the words to lower case")
    vocabulary_size: int = option(
        25_000, "Largest number of words that the model knows, the most frequent ones; 0 keeps all", NOT_NEGATIVE_COUNT
    )
    min_count: int = option(1, "Times that a word must occur in the training texts to be known", COUNT)
    max_tokens: int = option(400, "Number of words after which longer texts are cut", COUNT)
    window: int = option(
        70, "Words that a training step reads of each of its train.batch_size rows; no gradient passes further", COUNT
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModelConfig(ModelConfig):
    """The embedding, which is also the softmax's, and the recurrent layers."""

    embedding: int = option(64, "Features of a word's vector", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageLossConfig:
    """What is minimised."""

    sampled_words: int | None = option(
        None, "Number of random words that the training loss is estimated from; none computes it from all words", COUNT
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModellingConfig(RunConfig):
    """A run that trains a language model."""

    task: str = option("language_modelling", "Application that is trained", TEXT)
    run_dir: str = option("runs/language_model", "Folder that receives all results", TEXT)
    data: LanguageDataConfig = LanguageDataConfig()
    model: LanguageModelConfig = LanguageModelConfig()
    loss: LanguageLossConfig = LanguageLossConfig()
