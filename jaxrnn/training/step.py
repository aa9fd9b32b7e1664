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

from jaxrnn.data import Batch, Examples, Padded
from jaxrnn.training.devices import Devices
from jaxrnn.training.parameters import Parameters, SplitModel
from jaxrnn.training.task import Measured, Sums, Task, add


class TrainState(NamedTuple):
    """All that a step changes.

    Attributes:
      step: The number of steps taken; int32 scalar.
      parameters: The weights by name.
      optimizer: What the optimiser remembers.
      carry: What a step leaves to the next one, such as a language model's recurrent state.
    """

    step: Array
    parameters: Parameters
    optimizer: optax.OptState
    carry: Any = ()

    @classmethod
    def initial(cls, parameters: Parameters, optimizer: optax.GradientTransformation, carry: Any = ()) -> "TrainState":
        """The state before the first step."""
        return cls(jnp.zeros((), jnp.int32), parameters, optimizer.init(parameters), carry)

    def put(self, model: SplitModel, devices: Devices) -> "TrainState":
        """The state with every part of it on the devices where it belongs."""
        carry = devices.put_carry(self.carry)
        return devices.put(self._replace(carry=()), model.kinds)._replace(carry=carry)


class StepResult(NamedTuple):
    """What a training step returns; its arrays may still be computed on the device."""

    state: TrainState
    sums: Sums  # zero for a step that was skipped
    is_finite: Array  # whether the loss and the gradient are; if not, only the number of the step has changed


def make_train_step(
    model: SplitModel,
    optimizer: optax.GradientTransformation,
    seed: int,
    *,
    task: Task,
    devices: Devices | None = None,
) -> Callable[[TrainState, Batch], StepResult]:
    """The jitted training step. The state that it is given is used up (donated).

    Dropout's random numbers depend on the seed and the number of the step alone, so a resumed run draws the same, on
    any number of devices. A step whose loss or gradient is not finite changes nothing but that number.

    Args:
      model: The model, taken apart.
      optimizer: What turns gradients into updates.
      seed: Seed of dropout.
      task: What is minimised and measured.
      devices: Where the state is; None: the first device alone.
    """
    devices = devices or Devices.of(1)
    rest = devices.put(model.rest, {})

    def keep(state: TrainState) -> TrainState:
        carry = devices.keep_carry(state.carry)
        return devices.keep(state._replace(carry=()), model.kinds)._replace(carry=carry)

    @jax.jit(donate_argnums=0, static_argnums=4)
    def train_step(state: TrainState, rest: Any, arrays: Any, weights: Array, batch_size: int) -> StepResult:
        arrays, weights = jax.tree.map(lambda part: part[:batch_size], (arrays, weights))
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def mean_loss(parameters: Parameters) -> tuple[Array, Measured]:
            network = model.merge(parameters, rest)
            network.train()
            rngs = nnx.Rngs(dropout=key, samples=jax.random.fold_in(key, 1))
            measured = task.train(network, arrays, weights, state.carry, rngs)
            return measured.loss / measured.sums["count"], measured

        gradients, measured = jax.grad(mean_loss, has_aux=True)(state.parameters)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
        parameters = cast(Parameters, optax.apply_updates(state.parameters, updates))
        after = TrainState(state.step + 1, parameters, optimizer_state, measured.carry)
        is_finite = jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves((measured.loss, gradients))]).all()
        skipped = (state._replace(step=after.step), jax.tree.map(jnp.zeros_like, measured.sums))
        after, sums = jax.tree.map(partial(jnp.where, is_finite), (after, measured.sums), skipped)
        return StepResult(keep(after), *devices.copied((sums, is_finite)))

    def step(state: TrainState, batch: Batch) -> StepResult:
        with jax.set_mesh(devices.mesh):
            return train_step(state, rest, *devices.put_batch(batch), len(batch.indices))

    return step


class Evaluation(NamedTuple):
    """What an evaluation found.

    Attributes:
      sums: Over all examples.
      outputs: The outputs of each example in the data's order, without padding, as NumPy arrays; empty where they were
        not asked for.
    """

    sums: Sums
    outputs: list[Any]


def make_evaluate(
    model: SplitModel, *, task: Task, devices: Devices | None = None
) -> Callable[[Parameters, Iterable[Batch], Examples | None], Evaluation]:
    """The evaluation of parameters on batches, without dropout; compiled once for each shape of batch.

    The third argument of the function that is returned is what the batches were made of: with it the task's `score` is
    added to the sums, and the outputs are kept. With None the sums of the device are all.

    Args:
      model: The model, taken apart.
      task: What is measured.
      devices: Where the parameters are; None: the first device alone.
    """
    devices = devices or Devices.of(1)
    rest = devices.put(model.rest, {})

    @jax.jit(static_argnums=4)
    def forward(parameters: Parameters, rest: Any, arrays: Any, weights: Array, batch_size: int) -> tuple[Sums, Any]:
        network = model.merge(parameters, rest)
        network.eval()
        arrays, weights = jax.tree.map(lambda part: part[:batch_size], (arrays, weights))
        return devices.copied(task.evaluate(network, arrays, weights))

    def evaluate(parameters: Parameters, batches: Iterable[Batch], examples: Examples | None = None) -> Evaluation:
        sums: Sums = {}
        outputs: dict[int, Any] = {}
        for batch in batches:
            with jax.set_mesh(devices.mesh):
                batch_sums, batch_outputs = forward(parameters, rest, *devices.put_batch(batch), len(batch.indices))
            sums = add(sums, batch_sums)
            if examples is None:
                continue
            on_host = jax.device_get(batch_outputs)
            for row in map(int, np.flatnonzero(batch.indices >= 0)):
                index = int(batch.indices[row])
                outputs[index] = _row(on_host, row)
                if task.score:
                    sums = add(sums, task.score(examples[index], outputs[index]))
        return Evaluation(sums, [outputs[index] for index in sorted(outputs)])

    return evaluate


def _row(outputs: Any, row: int) -> Any:
    """One example's part of the outputs of a batch."""

    def pick(part: Padded | np.ndarray) -> np.ndarray:
        return part.values[row, : part.lengths[row]] if isinstance(part, Padded) else part[row]

    return jax.tree.map(pick, outputs, is_leaf=lambda part: isinstance(part, Padded))
