"""The settings that every run has. An application adds its own to [data] and [model], and sections of its own.

The schema is the one place where a default lives. A config never changes once it is built: what a run finds out, such
as the size of its vocabulary, is a result and not a setting.
"""

from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Literal

from jaxrnn.config.schema import (
    COUNT,
    FRACTION,
    LAYERS,
    NOT_NEGATIVE,
    NOT_NEGATIVE_COUNT,
    POSITIVE,
    RATE,
    SEED,
    TEXT,
    Schema,
    option,
)
from jaxrnn.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which examples are used, and how they are split and batched."""

    source: str = option("", "Hub name, folder or file with the examples", TEXT)
    max_train_examples: int | None = option(None, "Number of training examples to keep; none keeps all", COUNT)
    validation_fraction: float = option(
        0.1, "Share of the training examples that validates if the source has no validation split", FRACTION
    )
    test_fraction: float = option(
        0.2, "Share of all examples that is tested on if the source has no test split", FRACTION
    )
    split_seed: int | None = option(
        None, "Random seed for the split and for max_train_examples; none uses the run's seed", SEED
    )
    max_shapes: int = option(6, "Largest number of padded lengths, each of which is compiled once", COUNT)
    cache_dir: str = option("~/.cache/jaxrnn", "Folder that keeps prepared data between runs", TEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The recurrent layers."""

    cell: Literal["lstm", "gru", "elman"] = option("lstm", "Kind of recurrent layer")
    hidden: int = option(64, "Hidden units in each direction of each layer", COUNT)
    num_layers: int = option(1, "Number of recurrent layers", LAYERS)
    dropout_rate: float = option(0.5, "Dropout rate on the input, between layers and before the output", RATE)
    init: Literal["orthogonal", "torch"] = option(
        "orthogonal", "Initial weights; torch draws them from PyTorch's distributions"
    )
    double_bias: bool = option(False, "Give each cell a second bias that is added to the first, as PyTorch does")
    dtype: Literal["float32", "bfloat16"] = option("float32", "Number format of the matrix products' operands")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How the loss is minimised."""

    optimizer: Literal["adam", "adamw", "sgd", "lion"] = option("adam", "Optimiser")
    learning_rate: float = option(5e-3, "Learning rate, the highest of its schedule", POSITIVE)
    schedule: Literal["constant", "cosine", "linear", "plateau"] = option(
        "constant", "Schedule of the learning rate after the warm-up"
    )
    warmup_steps: int = option(0, "Updates over which the learning rate rises from zero", NOT_NEGATIVE_COUNT)
    plateau_patience: int = option(1, "Validations without a lower loss before a plateau cuts the learning rate", COUNT)
    plateau_factor: float = option(0.1, "Factor by which a plateau multiplies the learning rate", FRACTION)
    momentum: float = option(0.0, "Momentum of sgd", RATE)
    weight_decay: float = option(0.0, "Weight decay of weight matrices, for every optimiser but adam", NOT_NEGATIVE)
    decay_embedding: bool = option(False, "Apply the weight decay to embeddings too")
    max_grad_norm: float | None = option(
        None, "Global norm at which the gradient is clipped; none never clips", POSITIVE
    )
    skip_nonfinite: int = option(
        0, "Number of steps that may be skipped because their gradient is not finite", NOT_NEGATIVE_COUNT
    )
    accumulate_steps: int = option(1, "Number of batches whose mean gradient makes one update", COUNT)
    ema_decay: float | None = option(
        None, "Decay of an exponential moving average of the weights, which is then evaluated and kept", FRACTION
    )
    average_epochs: int | None = option(
        None, "Evaluate and keep the mean of the weights after this many last epochs", COUNT
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long training goes on, and how often it is saved."""

    epochs: int = option(5, "Number of passes over the training examples", COUNT)
    seeds: int = option(1, "Number of runs with the seeds seed, seed + 1 and so on, each in its own folder", COUNT)
    max_steps: int | None = option(None, "Number of steps after which training stops; none runs all epochs", COUNT)
    patience: int | None = option(None, "Epochs in a row without a better validation before training stops", COUNT)
    batch_size: int = option(32, "Examples in a batch", COUNT)
    checkpoint_every_seconds: float = option(60.0, "Seconds between checkpoints inside an epoch", NOT_NEGATIVE)
    checkpoint_every_steps: int | None = option(None, "Steps after which a checkpoint is saved as well", COUNT)
    keep_checkpoints: int = option(2, "Number of latest checkpoints to keep", COUNT)
    tensorboard: bool = option(False, "Write events for TensorBoard too")
    profile_steps: int | None = option(None, "Number of steps to write a profile of", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicesConfig:
    """Which devices train, and how several processes find each other."""

    per_process: int | None = option(None, "Number of devices that each process uses; none uses all", COUNT)
    model_parallel: int = option(1, "Number of devices that hold one copy of the weights between them", COUNT)
    divide: Literal["embedding", "hidden", "both"] = option(
        "embedding", "Which weights those devices divide: embeddings by features, layers by hidden units, or both"
    )
    coordinator: str | None = option(
        None, "Address host:port of the first process; auto asks Slurm, Open MPI or the TPU", TEXT
    )
    num_processes: int | None = option(None, "Number of processes that train together", COUNT)
    process: int | None = option(None, "Number of this process, from 0", NOT_NEGATIVE_COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A whole run. Building one checks every value.

    An application's config inherits from this one, gives `task` its own name as the default, and replaces `data` and
    `model` by sections that inherit from theirs. The default of an optional setting must be None: TOML cannot say
    "none", so `to_toml` leaves those out.

    Raises:
      InputError: A value has the wrong type or is out of range.
    """

    task: str = option("", "Application that is trained", TEXT)
    seed: int = option(42, "Random seed for the data split, batch order, initial weights and dropout", SEED)
    run_dir: str = option("runs/run", "Folder that receives all results", TEXT)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    devices: DevicesConfig = DevicesConfig()

    def __post_init__(self) -> None:
        schema = schema_of(type(self))
        for key in schema.keys:
            schema.checked(key, attrgetter(key)(self))
        schema.checked("seed", self.seed + self.train.seeds - 1)  # the last of the run's seeds
        if self.optim.optimizer == "adam" and self.optim.weight_decay:
            raise InputError(f"optim.weight_decay: expected 0 for adam (adamw has it), got {self.optim.weight_decay}")
        if self.optim.ema_decay is not None and self.optim.average_epochs is not None:
            raise InputError(f"optim.average_epochs: expected none with ema_decay, got {self.optim.average_epochs}")
        self.check()

    def check(self) -> None:
        """Raises InputError if settings of the application contradict each other."""

    @property
    def split_seed(self) -> int:
        """The seed of the split and of the examples that are kept; all seeds of a run share it."""
        return self.seed if self.data.split_seed is None else self.data.split_seed

    @property
    def split_options(self) -> dict[str, Any]:
        """The arguments of `jaxrnn.data.complete_splits`."""
        return {
            "validation_fraction": self.data.validation_fraction,
            "test_fraction": self.data.test_fraction,
            "seed": self.split_seed,
            "max_train_examples": self.data.max_train_examples,
        }


@cache
def schema_of(config: type[RunConfig]) -> Schema:
    """The settings of a config's class."""
    return Schema(config)
