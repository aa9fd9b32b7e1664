"""One step of training and one of evaluation: pure jitted functions of a flat dictionary of parameters."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from jaxrnn.data import Batch
from jaxrnn.tasks import Measured, Task, Totals, classification, kl_divergence
from jaxrnn.training.adversarial import Perturbations, random_directions, virtual_gradient
from jaxrnn.training.devices import Devices, Rows

Parameters = dict[str, Array]

# Dropout's own keys fold in 0, 1, 2, ...
RANDOM_STREAM = 2**31 - 1  # of virtual adversarial directions
UNLABELLED_STREAM = 2**31 - 2  # of all that is random at texts without labels


class TrainState(NamedTuple):
    """All that a step changes."""

    step: Array  # int32 scalar, steps taken
    parameters: Parameters
    optimizer: optax.OptState
    carry: Any = ()  # what a step leaves to the next one: a language model's state

    @classmethod
    def initial(cls, parameters: Parameters, optimizer: optax.GradientTransformation, carry: Any = ()) -> "TrainState":
        """The state before the first step."""
        return cls(jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters), carry)


class SplitModel(NamedTuple):
    """A model taken apart: its parameters by name, and what rebuilds it from them."""

    parameters: Parameters
    merge: Callable[[Parameters], Any]


def split_model(model: nnx.Module) -> SplitModel:
    """Takes the parameters out of a model, under names such as "layer.cells.0.w_x"."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    flat = {".".join(map(str, path)): (path, param) for path, param in nnx.to_flat_state(params)}

    def merge(parameters: Parameters) -> Any:
        state = [(path, param.replace(parameters[name])) for name, (path, param) in flat.items()]
        return nnx.merge(graph, nnx.from_flat_state(state), rest)

    return SplitModel({name: param[...] for name, (_, param) in flat.items()}, merge)


class Objective(NamedTuple):
    """What a step minimises: functions of the parameters, and of a perturbation of the embedded texts."""

    model: SplitModel
    task: Task
    rows: Rows
    carry: Any
    key: Array  # of dropout, the same in every pass

    def loss(self, parameters: Parameters, perturbation: Array | None = None) -> tuple[Array, Measured]:
        """The mean loss of the batch, and what is measured beside it."""
        network, rngs = self._training(parameters)
        measured = self.task.train(network, self.rows, self.carry, rngs, perturbation)
        return measured.loss / measured.totals.examples, measured

    def divergence(self, parameters: Parameters, perturbation: Array, measured: Measured) -> Array:
        """The mean KL divergence of the predictions at a perturbation from those that were measured."""
        real = self.rows.weights > 0
        _, found = self.loss(parameters, perturbation)
        return jnp.where(real, kl_divergence(measured.logits, found.logits), 0).sum() / real.sum()

    def gradients(self, parameters: Parameters, perturbations: Perturbations) -> tuple[Parameters, Measured]:
        """The gradient of the loss and of those at perturbations, and what `loss` measures at none."""
        if perturbations == Perturbations():
            return jax.grad(self.loss, has_aux=True)(parameters)
        return perturbations.gradient(self.loss, self.divergence, parameters, random=self._directions(parameters))

    def virtual_gradient(self, parameters: Parameters, norm: float) -> Parameters:
        """The gradient of the virtual adversarial loss alone, for which labels count for nothing."""
        _, measured = self.loss(parameters)
        random = self._directions(parameters)
        return virtual_gradient(self.divergence, parameters, measured, norm=norm, random=random)

    def _directions(self, parameters: Parameters) -> Array:
        shape = jax.eval_shape(self._embedded, parameters).shape
        return random_directions(jax.random.fold_in(self.key, RANDOM_STREAM), shape, self.rows.lengths)

    def _embedded(self, parameters: Parameters) -> Array:
        network, rngs = self._training(parameters)
        return network.embed(self.rows.tokens, folds=self.rows.folds, rngs=rngs)[..., : network.vector_features]

    def _training(self, parameters: Parameters) -> tuple[Any, nnx.Rngs]:
        network = self.model.merge(parameters)
        network.train()
        return network, nnx.Rngs(dropout=self.key, samples=jax.random.fold_in(self.key, 1))


def make_train_step(
    model: SplitModel,
    optimizer: optax.GradientTransformation,
    seed: int,
    *,
    devices: Devices | None = None,
    task: Task | None = None,
    perturbations: Perturbations | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Totals]]:
    """The jitted training step; the state that it is given is used up (donated).

    Dropout's random numbers depend on the seed and the number of the step alone, so a resumed run draws the same, on
    any number of devices. A step whose loss or gradient is not finite changes nothing but that number, and says so in
    its totals.

    Where an unlabelled batch is beside a batch, the virtual adversarial loss is that batch's alone. Its gradient is a
    program of its own, compiled for each shape: one for both would be compiled for each pair of shapes.

    Args:
      model: the model, taken apart.
      optimizer: what turns gradients into updates.
      seed: of dropout.
      devices: where the state is; None: the first device alone.
      task: what is minimised and measured; None: classification.
      perturbations: of the embedded texts, whose losses are minimised too; None: none.
    """
    devices = devices or Devices.of(1)
    task = task or classification()
    perturbations = perturbations or Perturbations()
    unlabelled_gradient = _make_unlabelled_gradient(model, seed, devices, task, perturbations)

    @jax.jit(donate_argnums=0, static_argnums=2)
    def train_step(
        state: TrainState, rows: Rows, batch_size: int, unlabelled: Parameters | None
    ) -> tuple[TrainState, Totals]:
        rows = Rows(*(part[:batch_size] for part in rows))
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        objective = Objective(model, task, rows, state.carry, key)
        wanted = perturbations if unlabelled is None else perturbations._replace(virtual_adversarial=None)
        gradients, (_, totals, _, carry) = objective.gradients(state.parameters, wanted)
        if unlabelled is not None:
            gradients = jax.tree.map(jnp.add, gradients, unlabelled)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
        parameters = cast(Parameters, optax.apply_updates(state.parameters, updates))
        after = TrainState(state.step + 1, parameters, optimizer_state, carry)
        finite = jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves((totals.loss, gradients))]).all()
        before = state._replace(step=after.step)
        skipped = jax.tree.map(jnp.zeros_like, totals)._replace(skipped=jnp.ones((), jnp.int32))
        after, totals = jax.tree.map(partial(jnp.where, finite), (after, totals), (before, skipped))
        return devices.keep(after), devices.copied(totals)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Totals]:
        with jax.set_mesh(devices.mesh):
            unlabelled = None if batch.unlabelled is None else unlabelled_gradient(state, batch.unlabelled)
            return train_step(state, devices.put_rows(batch), len(batch.indices), unlabelled)

    return step


def _make_unlabelled_gradient(
    model: SplitModel, seed: int, devices: Devices, task: Task, perturbations: Perturbations
) -> Callable[[TrainState, Batch], Parameters]:
    """The jitted gradient of the virtual adversarial loss of a batch, with random numbers of its own."""

    @jax.jit(static_argnums=3)
    def gradient(parameters: Parameters, step: Array, rows: Rows, batch_size: int) -> Parameters:
        assert perturbations.virtual_adversarial is not None
        rows = Rows(*(part[:batch_size] for part in rows))
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), UNLABELLED_STREAM)
        objective = Objective(model, task, rows, (), key)
        return devices.keep(objective.virtual_gradient(parameters, perturbations.virtual_adversarial))

    return lambda state, batch: gradient(state.parameters, state.step, devices.put_rows(batch), len(batch.indices))


class Evaluation(NamedTuple):
    """Sums over the examples, and their logits `[num_examples, classes]` in the data's order."""

    totals: Totals
    logits: np.ndarray


def make_evaluate(
    model: SplitModel, *, devices: Devices | None = None, task: Task | None = None
) -> Callable[[Parameters, Iterable[Batch]], Evaluation]:
    """The evaluation of parameters on batches, without dropout; compiled once for each shape of batch.

    Args:
      model: the model, taken apart.
      devices: where the parameters are; None: the first device alone.
      task: what is measured; None: classification.
    """
    devices = devices or Devices.of(1)
    task = task or classification()

    @jax.jit(static_argnums=2)
    def forward(parameters: Parameters, rows: Rows, batch_size: int) -> tuple[Array, Totals]:
        network = model.merge(parameters)
        network.eval()
        measured = task.evaluate(network, Rows(*(part[:batch_size] for part in rows)))
        return devices.copied((measured.logits, measured.totals))

    def evaluate(parameters: Parameters, batches: Iterable[Batch]) -> Evaluation:
        totals, indices, logits = Totals(), [], []
        for batch in batches:
            with jax.set_mesh(devices.mesh):
                batch_logits, batch_totals = forward(parameters, devices.put_rows(batch), len(batch.indices))
            real = batch.indices >= 0
            indices.append(batch.indices[real])
            logits.append(np.asarray(batch_logits)[real])
            totals = totals.plus(batch_totals)
        return Evaluation(totals, np.concatenate(logits)[np.argsort(np.concatenate(indices))])

    return evaluate
