"""The reference application's model and training step, built as the trainer builds them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optax
from flax import nnx

from jaxrnn import core
from jaxrnn.applications.classification import APPLICATION
from jaxrnn.applications.classification.config import ClassificationConfig
from jaxrnn.applications.classification.data import ClassificationAssets
from jaxrnn.data import Batch, Columns, Padded, Ragged
from jaxrnn.data.text import Vocabulary
from jaxrnn.training import Devices, SplitModel, Task, TrainState, make_optimizer, make_train_step, split_model

CONFIG = Path(__file__).parent.parent / "configs" / "imdb_bilstm.toml"
LABELS = ("negative", "positive")


class ReferenceModel(NamedTuple):
    """The model with what trains it.

    Attributes:
      split: The network, taken apart.
      task: The loss.
      optimizer: The optimiser of the recipe.
      step: The compiled training step.
      devices: Where it runs.
    """

    split: SplitModel
    task: Task
    optimizer: optax.GradientTransformation
    step: Any
    devices: Devices

    def initial_state(self, **parameters: Any) -> TrainState:
        """The state before the first step; parameters that are given by name replace the initial ones."""
        return TrainState.initial(self.split.parameters | parameters, self.optimizer).put(self.split, self.devices)


def build_reference(
    config: ClassificationConfig,
    *,
    num_tokens: int,
    num_steps: int,
    devices: Devices | None = None,
    backend: Any = None,
) -> ReferenceModel:
    """Builds the model of a config for texts of two classes.

    Args:
      config: The recipe.
      num_tokens: Size of the vocabulary, `<unk>` and `<pad>` included. Which words it holds does not matter.
      num_steps: Steps of the run.
      devices: Where it runs; None: the first device alone.
      backend: The backend of the recurrent layers; None: the one that the application takes.
    """
    words = map(str, range(num_tokens - len(Vocabulary([]))))
    assets = ClassificationAssets(LABELS, Vocabulary(words))
    network, task = APPLICATION.network(config, assets, nnx.Rngs(config.seed)), APPLICATION.task(config, assets)
    if backend is not None:
        core.check_backend(backend)
        network.layer.backend = backend
    split = split_model(network)
    optimizer = make_optimizer(
        rule=config.optim.optimizer,
        learning_rate=config.optim.learning_rate,
        num_steps=num_steps,
        kinds=split.kinds,
        max_grad_norm=config.optim.max_grad_norm,
    ).transformation
    devices = devices or Devices.of(1)
    step = make_train_step(split, optimizer, config.seed, task=task, devices=devices)
    return ReferenceModel(split, task, optimizer, step, devices)


def make_examples(token_ids: list[np.ndarray], labels: np.ndarray) -> Columns:
    """Examples as the application makes them, from token numbers and class numbers."""
    tokens = Ragged(token_ids, Vocabulary.pad_id)
    return Columns({"tokens": tokens, "label": labels.astype(np.int32)}, bucket_by="tokens")


def random_batch(rng: np.random.Generator, *, batch_size: int, time: int, num_tokens: int) -> Batch:
    """A batch of random tokens, all rows as long as the batch."""
    tokens = rng.integers(2, num_tokens, (batch_size, time), dtype=np.int32)
    labels = rng.integers(0, 2, batch_size).astype(np.int32)
    arrays = {"tokens": Padded(tokens, np.full(batch_size, time, np.int32)), "label": labels}
    return Batch(arrays, np.ones(batch_size, np.float32), np.arange(batch_size))
