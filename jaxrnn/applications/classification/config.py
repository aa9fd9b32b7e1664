"""The settings of text classification. Their defaults classify BBC news."""

from dataclasses import dataclass
from typing import Literal

from jaxrnn.config import DataConfig, ModelConfig, RunConfig, option, some_of
from jaxrnn.config.schema import COUNT, FRACTION, NOT_NEGATIVE_COUNT, RATE, TEXT
from jaxrnn.errors import InputError

POOLING = some_of("last", "mean", "max", "attention")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationDataConfig(DataConfig):
    """Which texts are used, and how they become numbers."""

    source: str = option(
        "bbc-news", "Hub name, folder or file with the texts; bbc-news is in the extra quickstart", TEXT
    )
    strip_html: bool = option(False, "Remove tags such as <br /> and resolve entities such as &amp;")
    max_tokens: int = option(400, "Number of tokens after which a text is cut", COUNT)
    truncate: Literal["head", "tail", "both"] = option("head", "Part of a longer text that is kept")
    head_fraction: float = option(
        0.25, "Share of max_tokens that is kept from the beginning with truncate = both", FRACTION
    )
    lowercase: bool = option(True, "Convert the tokens to lower case")
    vocabulary_size: int = option(
        25_000, "Number of most frequent training tokens in the vocabulary; 0 takes all", NOT_NEGATIVE_COUNT
    )
    min_count: int = option(1, "Occurrences that a training token needs to be in the vocabulary", COUNT)
    ngrams: int = option(1, "Words in the longest n-grams that have log-count ratios; 1 uses words alone", COUNT)
    ngram_vocabulary_size: int = option(
        100_000, "Number of most frequent n-grams that are known; 0 takes all", NOT_NEGATIVE_COUNT
    )
    ngram_min_count: int = option(5, "Occurrences that an n-gram needs in the training texts to be known", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorsConfig:
    """Pretrained word vectors."""

    path: str | None = option(
        None, "GloVe .txt, .gz or .zip file of initial word vectors; none draws them at random", TEXT
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationModelConfig(ModelConfig):
    """Embedding, recurrent layers, pooling, and a linear classifier beside them."""

    embedding: int = option(64, "Features of a word's vector", COUNT)
    bidirectional: bool = option(True, "Read the text in both directions")
    embedding_dropout_rate: float | None = option(None, "Dropout rate on the embedding; none uses dropout_rate", RATE)
    word_dropout_rate: float = option(0.0, "Share of words whose vector becomes that of the unknown word", RATE)
    pooling: str = option(
        "mean", "What represents a text: last, mean, max, attention, or several separated by commas", POOLING
    )
    attention: Literal["additive", "dot"] = option("additive", "Kind of attention with pooling = attention")
    ratio_inputs: bool = option(False, "Give the layers the log-count ratios of words and n-grams too")
    bag_of_words: bool = option(False, "Train a linear classifier of words and n-grams beside the network")
    init_from: str | None = option(
        None, "Folder of a language model's run whose words and layers training starts from", TEXT
    )

    @property
    def has_ratios(self) -> bool:
        """Whether log-count ratios are needed."""
        return self.ratio_inputs or self.bag_of_words


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """What is minimised."""

    label_smoothing: float = option(
        0.0, "Share of the correct class's probability that training spreads over all classes", RATE
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationConfig(RunConfig):
    """A run that learns to classify texts."""

    task: str = option("classification", "Application that is trained", TEXT)
    run_dir: str = option("runs/quickstart", "Folder that receives all results", TEXT)
    data: ClassificationDataConfig = ClassificationDataConfig()
    vectors: VectorsConfig = VectorsConfig()
    model: ClassificationModelConfig = ClassificationModelConfig()
    loss: LossConfig = LossConfig()

    def check(self) -> None:
        """Raises InputError if settings contradict each other."""
        if self.data.ngrams > 1 and not self.model.has_ratios:
            raise InputError(
                "data.ngrams: expected 1 without model.ratio_inputs and model.bag_of_words, which alone use n-grams, "
                f"got {self.data.ngrams}"
            )
