"""What an application is: how the generic trainer and the commands see classification, tagging and the others.

An application is one folder: a config, assets (what a run learns from its data before training: a vocabulary, the names
of classes, a scaler), examples, a network, a task, and answers. Everything else is generic: batches, the loop,
checkpoints, devices, metrics and the commands.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from flax import nnx
from rich.text import Text

from jaxrnn.applications.layers import describe_layers
from jaxrnn.config import RunConfig
from jaxrnn.data import Batches, BucketedBatches, Examples, choose_boundaries
from jaxrnn.errors import InputError
from jaxrnn.training import Devices, Evaluation, Parameters, SplitModel, Task, make_evaluate, split_model
from jaxrnn.views import Section


class Assets(Protocol):
    """What a run learns from its data before training, kept as files in the run's folder."""

    def save(self, folder: Path) -> None:
        """Writes its files, each whole or not at all."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads them; InputError if one is missing or damaged."""
        ...

    def __eq__(self, other: object) -> bool: ...


class NoAssets:
    """The assets of an application that learns nothing from its data before training."""

    def save(self, folder: Path) -> None:
        """Writes nothing."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads nothing."""
        return cls()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoAssets)

    __hash__ = None  # type: ignore[assignment]


class Answer(Protocol):
    """What `predict` says of one input."""

    def line(self) -> str | Text:
        """The answer as text, coloured if it is of `rich.text.Text`."""
        ...

    def json(self) -> Mapping[str, Any]:
        """The answer as values that JSON can hold."""
        ...


C = TypeVar("C", bound=RunConfig)
A = TypeVar("A", bound=Assets)


class Prepared(NamedTuple, Generic[A]):
    """The data of a training run."""

    assets: A
    train: Examples
    validation: Examples
    test: Examples


class Application(ABC, Generic[C, A]):
    """One use of recurrent networks.

    Attributes:
      config: The class of its config, which inherits from `RunConfig`.
      assets: The class of its assets.
    """

    config: type[C]
    assets: type[A]

    @abstractmethod
    def prepare(self, config: C, *, keep_cache: bool = True) -> Prepared[A]:
        """Reads the data: assets from the training examples, and the examples of all splits.

        Args:
          config: The run's.
          keep_cache: Whether prepared data may be written to the cache.

        Raises:
          InputError: The source cannot be used.
        """

    @abstractmethod
    def examples(self, config: C, assets: A, source: str | None, split: str) -> Examples:
        """The examples of one split, to evaluate a trained model on.

        Args:
          config: The run's.
          assets: The run's.
          source: Where they are. None: the run's own data, split as in training.
          split: "train", "validation" or "test". A source without splits is taken whole.

        Raises:
          InputError: The source cannot be used, or does not go with the assets.
        """

    @abstractmethod
    def network(self, config: C, assets: A, rngs: nnx.Rngs) -> nnx.Module:
        """The network with its initial weights, which the random streams alone decide."""

    @abstractmethod
    def task(self, config: C, assets: A) -> Task:
        """What is minimised and measured."""

    def start(self, config: C, assets: A, parameters: Parameters) -> Parameters:
        """The parameters that training starts from: pretrained vectors, another run; by default the initial ones."""
        return parameters

    def train_batches(self, config: C, assets: A, examples: Examples, devices: Devices) -> Batches:
        """The batches of the training examples; by default examples of similar length share a batch."""
        return bucketed(config, examples, devices)

    def describe(self, config: C) -> str:
        """The model in a few words, for the report."""
        return describe_layers(config.model)

    def add_predict_arguments(self, parser: argparse._ArgumentGroup) -> None:
        """Adds arguments of its own to the command `predict`; their values become options of `predict`."""

    def predict(self, trained: "Trained", inputs: Sequence[str], **options: Any) -> Iterable[Answer]:
        """The answers to inputs, in their order.

        Args:
          trained: The model.
          inputs: Texts, or the names of files, as the application says.
          **options: The values of its own arguments.
        """
        raise InputError(f"a run of {trained.config.task} does not predict")

    def page(self, trained: "Trained", inputs: Sequence[str], **options: Any) -> str:
        """The answers to inputs as a page of HTML, for `predict --html`; arguments as of `predict`."""
        raise InputError(f"--html: a run of {trained.config.task} has no page of its answers")

    def add_generate_arguments(self, parser: argparse._ArgumentGroup) -> None:
        """Adds arguments of its own to the command `generate`; their values become options of `generate`."""

    def generate(self, trained: "Trained", prompt: str, **options: Any) -> Iterator[str]:
        """Pieces of what follows a prompt, as they come."""
        raise InputError(f"a run of {trained.config.task} does not generate; python -m jaxrnn.predict asks it")

    def report(self, trained: "Trained", examples: Examples, evaluation: Evaluation) -> Sequence[Section]:
        """The application's own part of the report on a split.

        Args:
          trained: The model.
          examples: The examples of the split.
          evaluation: The model's outputs for them.
        """
        return []


class Trained(NamedTuple):
    """The best checkpoint of a run, with all that it needs.

    Attributes:
      name: The name of the run's folder.
      application: What it is a run of.
      config: The run's config.
      assets: The run's assets.
      split: The network, taken apart, with its initial weights.
      parameters: The trained weights.
      best_step: The training step that they are from.
    """

    name: str
    application: Application[Any, Any]
    config: Any
    assets: Any
    split: SplitModel
    parameters: Parameters
    best_step: int

    def model(self) -> Any:
        """The network with its trained weights, without dropout."""
        network = self.split.merge(self.parameters, self.split.rest)
        network.eval()
        return network

    def evaluate(self, examples: Examples) -> Evaluation:
        """Sums and outputs of examples, on one device."""
        devices = Devices.of(1)
        task = self.application.task(self.config, self.assets)
        batches = bucketed(self.config, examples, devices)
        evaluate = make_evaluate(self.split, task=task, devices=devices)
        return evaluate(devices.put(self.parameters, self.split.kinds), batches.in_order(), examples)

    def predict(self, inputs: Sequence[str], **options: Any) -> list[Answer]:
        """The answers to inputs, in their order; the options are the application's own."""
        return list(self.application.predict(self, inputs, **options)) if inputs else []


def build_network(application: Application[C, A], config: C, assets: A) -> SplitModel:
    """The network of a run with its initial weights, which the seed alone decides, taken apart."""
    return split_model(application.network(config, assets, nnx.Rngs(config.seed)))


def network_shapes(application: Application[C, A], config: C, assets: A) -> SplitModel:
    """The same without weights: shapes take no memory."""
    return split_model(nnx.eval_shape(lambda: application.network(config, assets, nnx.Rngs(config.seed))))


def bucketed(config: RunConfig, examples: Examples, devices: Devices) -> BucketedBatches:
    """Batches of examples of similar length, padded to lengths that are chosen for them."""
    batch_size = min(config.train.batch_size, len(examples))
    return BucketedBatches(
        examples,
        boundaries=choose_boundaries(examples.lengths, batch_size=batch_size, max_shapes=config.data.max_shapes),
        batch_size=batch_size,
        seed=config.seed,
        rows=devices.rows(batch_size),
    )
