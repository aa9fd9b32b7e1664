"""Every setting of the trainer: its name, type, default, limits and help.

The schema below is the one place where a default lives; the defaults are the quickstart. `load_config` reads a file,
then `section.key=value` overrides, and refuses whatever it does not know with one line that says what would be right.
A config never changes once it is built: what a run finds out (the vocabulary's real size) is a result, not a setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from jaxrnn.errors import InputError
from jaxrnn.settings import (
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    NOT_NEGATIVE_COUNT,
    POSITIVE,
    RATE,
    SEED,
    TEXT,
    Schema,
    option,
    parse,
    show,
    some_of,
    toml_value,
)

POOLING = some_of("last", "mean", "max", "attention")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which texts, how they are split, cut and numbered."""

    source: str = option("bbc-news", "Hub name, folder or file; bbc-news is the quickstart's", TEXT)
    max_train_examples: int | None = option(None, "keep only this many training examples", COUNT)
    validation_fraction: float = option(0.1, "of train, when the source has no validation split", FRACTION)
    split_seed: int | None = option(None, "of the split and of which examples are kept; none: as seed", SEED)
    test_fraction: float = option(0.2, "of all, when the source has no test split", FRACTION)
    unlabelled: bool = option(False, "virtual adversarial loss of the source's unsupervised texts too")
    strip_html: bool = option(False, "take out tags such as <br />, resolve &amp; and its like")
    max_tokens: int = option(400, "longer texts are cut, and counted", COUNT)
    truncate: Literal["head", "tail", "both"] = option("head", "the part that longer texts keep")
    head_fraction: float = option(0.25, "of max_tokens, from the start, with truncate=both", FRACTION)
    lowercase: bool = option(True, "lowercase the tokens")
    vocabulary_size: int = option(25_000, "most frequent training tokens to keep; 0: all", NOT_NEGATIVE_COUNT)
    min_count: int = option(1, "rarer training tokens are unknown words", COUNT)
    subwords: int = option(0, "pieces of words, for unknown tokens; 0: none", NOT_NEGATIVE_COUNT)
    ngrams: int = option(1, "words of the longest runs that have vectors; 1: none", COUNT)
    ngram_vocabulary_size: int = option(100_000, "most frequent runs to keep; 0: all", NOT_NEGATIVE_COUNT)
    ngram_min_count: int = option(5, "rarer runs of training tokens are unknown runs", COUNT)
    max_shapes: int = option(6, "padded lengths, that is compiled programs", COUNT)
    cache_dir: str = option("~/.cache/jaxrnn", "folder for prepared data", TEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorsConfig:
    """Word vectors that the embedding starts from."""

    path: str | None = option(None, "GloVe .txt, .gz or .zip; none: random vectors", TEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Embedding, recurrent layers, and what a classifier pools them by."""

    cell: Literal["lstm", "gru", "elman"] = option("lstm", "kind of recurrent layer")
    embedding: int = option(64, "features of a token", COUNT)
    ngram_features: int = option(16, "features of a run of words, beside a token's; 0: none", NOT_NEGATIVE_COUNT)
    ratio_inputs: bool = option(False, "log-count ratios of words and runs are inputs of the layers too")
    bag_of_words: bool = option(False, "a linear classifier of words and runs beside the network")
    hidden: int = option(64, "hidden features a direction", COUNT)
    num_layers: int = option(1, "recurrent layers", COUNT)
    bidirectional: bool = option(True, "read the text in both directions")
    dropout_rate: float = option(0.5, "on the embedding, between layers and on the pooled state", RATE)
    embedding_dropout_rate: float | None = option(None, "on the embedding; none: dropout_rate", RATE)
    word_dropout_rate: float = option(0.0, "of tokens, which become <unk>", RATE)
    normalize_embedding: bool = option(False, "vectors of mean 0 and variance 1 over the training tokens")
    pooling: str = option("mean", "last, mean, max, attention, or several as max,mean,last", POOLING)
    attention: Literal["additive", "dot"] = option("additive", "kind of attention, for pooling=attention")
    init: Literal["orthogonal", "torch"] = option("orthogonal", "first weights; torch: as PyTorch draws them")
    double_bias: bool = option(False, "two biases that add up, as in PyTorch")
    dtype: Literal["float32", "bfloat16"] = option("float32", "of the matrix products")
    init_from: str | None = option(None, "run_dir of a language model whose words and layers to start from", TEXT)

    @property
    def has_ratios(self) -> bool:
        """Whether log-count ratios are needed."""
        return self.ratio_inputs or self.bag_of_words


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """What is minimised, and how."""

    optimizer: Literal["adam", "adamw", "sgd", "lion"] = option("adam", "what turns gradients into updates")
    learning_rate: float = option(5e-3, "step size, the highest of the schedule", POSITIVE)
    schedule: Literal["constant", "cosine", "linear", "plateau"] = option("constant", "of the rate after the warm-up")
    warmup_steps: int = option(0, "updates over which the rate rises", NOT_NEGATIVE_COUNT)
    plateau_patience: int = option(1, "validations without progress before the rate is cut", COUNT)
    plateau_factor: float = option(0.1, "what a plateau multiplies the rate by", FRACTION)
    momentum: float = option(0.0, "of sgd", RATE)
    weight_decay: float = option(0.0, "of weight matrices; not for adam", NOT_NEGATIVE)
    decay_embedding: bool = option(False, "weight decay of the embedding too")
    max_grad_norm: float | None = option(None, "clip the gradient to this global norm", POSITIVE)
    skip_nonfinite: int = option(0, "steps that may be skipped as their gradient is not finite", NOT_NEGATIVE_COUNT)
    accumulate_steps: int = option(1, "batches whose mean gradient makes one update", COUNT)
    label_smoothing: float = option(0.0, "of a classifier's training loss, spread over all classes", RATE)
    adversarial: float | None = option(None, "norm of adversarial steps from a classifier's embedded text", POSITIVE)
    virtual_adversarial: float | None = option(None, "norm of virtual ones, which follow no label", POSITIVE)
    sampled_words: int | None = option(None, "estimate a language model's softmax from so many; none: all words", COUNT)
    ema_decay: float | None = option(None, "of an average of the weights, used in their place", FRACTION)
    average_epochs: int | None = option(None, "use the mean of the weights after so many last epochs", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long to train, and how often to save."""

    epochs: int = option(5, "passes over the training examples", COUNT)
    seeds: int = option(1, "runs, of seed, seed + 1 and so on, each in a folder of its own", COUNT)
    max_steps: int | None = option(None, "stop after this many steps", COUNT)
    patience: int | None = option(None, "epochs in a row without a better validation loss", COUNT)
    batch_size: int = option(32, "examples a step; of a language model rows of text", COUNT)
    window: int = option(70, "steps of a language model's windows, which gradients do not leave", COUNT)
    checkpoint_every_seconds: float = option(60.0, "between the checkpoints inside an epoch", NOT_NEGATIVE)
    checkpoint_every_steps: int | None = option(None, "save also after so many steps", COUNT)
    keep_checkpoints: int = option(2, "the latest ones, to go on from", COUNT)
    tensorboard: bool = option(False, "write events for TensorBoard too")
    profile_steps: int | None = option(None, "write a profile of so many steps", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicesConfig:
    """Which devices train, and how several processes find each other."""

    per_process: int | None = option(None, "devices of each process to use; none: all", COUNT)
    model_parallel: int = option(1, "devices that hold one copy of the weights between them", COUNT)
    divide: Literal["embedding", "hidden", "both"] = option("embedding", "what those devices divide")
    coordinator: str | None = option(None, "host:port of the first process; auto: by Slurm or MPI", TEXT)
    num_processes: int | None = option(None, "processes that train together", COUNT)
    process: int | None = option(None, "number of this process, from 0", NOT_NEGATIVE_COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A whole run. Building one checks every value.

    An optional setting's default must be None: TOML cannot say "none", so `to_toml` leaves those out.

    Raises:
        InputError: If a value has the wrong type or is out of range.
    """

    task: Literal["classification", "language_modelling"] = option("classification", "what is learnt")
    seed: int = option(42, "of the split, the order, the weights and dropout", SEED)
    run_dir: str = option("runs/quickstart", "folder that receives all results", TEXT)
    data: DataConfig = DataConfig()
    vectors: VectorsConfig = VectorsConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    devices: DevicesConfig = DevicesConfig()

    def __post_init__(self) -> None:
        for key in _SCHEMA.keys:
            _SCHEMA.checked(key, attrgetter(key)(self))
        if self.optim.optimizer == "adam" and self.optim.weight_decay:
            raise InputError(f"optim.weight_decay: expected 0 for adam (adamw has it), got {self.optim.weight_decay}")
        if self.optim.ema_decay is not None and self.optim.average_epochs is not None:
            raise InputError(f"optim.average_epochs: expected none with ema_decay, got {self.optim.average_epochs}")
        if self.data.unlabelled and self.task == "classification" and self.optim.virtual_adversarial is None:
            raise InputError("optim.virtual_adversarial: expected a norm with data.unlabelled = true, got none")
        if self.task == "language_modelling":
            for key, expected in _OF_LANGUAGE_MODELS.items():
                if attrgetter(key)(self) != expected:
                    raise InputError(
                        f"{key}: expected {toml_value(expected)} with task = language_modelling, "
                        f"got {toml_value(attrgetter(key)(self))}"
                    )
        if self.data.ngrams > 1 and not (self.model.ngram_features or self.model.has_ratios):
            raise InputError(
                "model.ngram_features: expected at least 1 with data.ngrams but neither model.ratio_inputs nor "
                "model.bag_of_words, got 0"
            )
        has_vectors = self.data.ngrams > 1 and self.model.ngram_features > 0
        tables = ("embedding", "ngram_features") if has_vectors else ("embedding",)
        divided = {"embedding": tables, "hidden": ("hidden",), "both": (*tables, "hidden")}
        for name in divided[self.devices.divide]:
            if getattr(self.model, name) % self.devices.model_parallel:
                raise InputError(
                    f"devices.model_parallel: expected a divisor of model.{name} = {getattr(self.model, name)}, "
                    f"got {self.devices.model_parallel}"
                )

    @property
    def split_seed(self) -> int:
        """What decides the split and which examples are kept; all seeds of a run share it."""
        return self.seed if self.data.split_seed is None else self.data.split_seed


# What a language model cannot be but so.
_OF_LANGUAGE_MODELS = {
    "data.unlabelled": False,  # they read all texts anyway
    "data.truncate": "head",
    "data.subwords": 0,
    "data.ngrams": 1,
    "model.ratio_inputs": False,
    "model.bag_of_words": False,
    "model.embedding_dropout_rate": None,
    "model.word_dropout_rate": 0.0,
    "model.normalize_embedding": False,
    "model.bidirectional": False,
    "optim.label_smoothing": 0.0,
    "optim.adversarial": None,
    "optim.virtual_adversarial": None,
}

_SCHEMA = Schema(Config)


def load_config(path: Path | None, overrides: Sequence[str]) -> Config:
    """Reads a TOML file, then applies overrides in their order; what neither names keeps its default.

    Args:
        path: The file. None: the defaults alone, that is the quickstart.
        overrides: `key=value` with a dotted key. The key's type decides how the value is read: `64` or `1_000`; `1e-3`;
            `true` or `false`; strings bare or in quotes (a matching pair is dropped, nothing is unescaped). `none`
            clears an optional setting.

    Returns:
        The checked configuration.

    Raises:
        InputError: If the file cannot be read or parsed, or a key or a value is not in the schema.

    >>> load_config(None, ["model.cell=gru", "model.hidden=1_000"]).model.hidden
    1000
    """
    values = {} if path is None else _SCHEMA.read(path)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"{show(override)}: expected key=value")
        key = name.strip()
        values[key] = _SCHEMA.checked(key, parse(text.strip(), _SCHEMA.find(key)))
    given: dict[str, dict[str, Any]] = {section: {} for section in ("", *_SCHEMA.sections)}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        given[section][name] = value
    sections = {section: cls(**given[section]) for section, cls in _SCHEMA.sections.items()}
    return Config(**given[""], **sections)


def to_toml(config: Config) -> str:
    """Writes every setting as TOML that `load_config` reads back to an equal config; unset ones become comments.

    Args:
        config: What to write.

    Returns:
        The text, each setting followed by its help. Write it as UTF-8.
    """
    lines, section = [], ""
    for key, spec in _SCHEMA.keys.items():
        before, section = section, key.rpartition(".")[0]
        if section != before:
            lines += ["", f"[{section}]"]
        name, value = key.rpartition(".")[2], attrgetter(key)(config)
        setting = f"# {name}: none" if value is None else f"{name} = {toml_value(value)}"
        lines.append(f"{setting}  # {spec.help}")
    return "\n".join(lines) + "\n"


def describe_keys() -> str:
    """Returns the settings for `--help`: key, type, default and help, a line each, in columns."""
    rows = [(key, spec.type_text, toml_value(spec.default), spec.help) for key, spec in _SCHEMA.keys.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def differences(a: Config, b: Config) -> list[str]:
    """Returns the settings that differ, as `model.hidden: 256 != 64`, in the schema's order."""
    pairs = ((key, attrgetter(key)(a), attrgetter(key)(b)) for key in _SCHEMA.keys)
    return [f"{key}: {toml_value(left)} != {toml_value(right)}" for key, left, right in pairs if left != right]
