"""The optimiser, put together from optax: clipping, rule, schedule, averaged weights, accumulation, in this order.

All that it remembers is in its one state, so a checkpoint of that state holds everything.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxrnn.training.step import Parameters

RuleName = Literal["adam", "adamw", "sgd", "lion"]
ScheduleName = Literal["constant", "cosine", "linear", "plateau"]

StateType = TypeVar("StateType")


class Optimizer(NamedTuple):
    """What acts after each step, and after each validation."""

    transformation: optax.GradientTransformation
    validated: Callable[[optax.OptState, float], optax.OptState]  # the state after a validation with this loss


class Averaged(NamedTuple):
    """The exponential moving average of the parameters."""

    num_updates: Array  # int32 scalar, so far
    parameters: Parameters


class LastEpochs(NamedTuple):
    """The parameters after each of the last n epochs."""

    num_epochs: Array  # int32 scalar, that have ended so far
    parameters: Parameters  # [n, ...] each; those after epoch k, counted from 0, at k mod n


def make_optimizer(
    *,
    rule: RuleName,
    learning_rate: float,
    num_steps: int,
    schedule: ScheduleName = "constant",
    warmup_steps: int = 0,
    plateau_patience: int = 1,
    plateau_factor: float = 0.1,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    decay_embedding: bool = False,
    max_grad_norm: float | None = None,
    accumulate_steps: int = 1,
    ema_decay: float | None = None,
    average_epochs: int | None = None,
) -> Optimizer:
    """Puts an optimiser together.

    Args:
      rule: what turns gradients into updates.
      learning_rate: the highest of the schedule.
      num_steps: of the whole run, each of one batch.
      schedule: after the warm-up "constant"; "cosine" or "linear", down to zero after the last update; or "plateau",
        cut after validations without progress.
      warmup_steps: updates over which the rate rises in equal parts.
      plateau_patience: validations in a row without a loss lower by 1e-4 of itself, after which the rate is cut.
      plateau_factor: what the rate is then multiplied by.
      momentum: of "sgd".
      weight_decay: of weight matrices, not of biases or norms; for "adamw" and "lion" apart from the gradient, times
        the learning rate, for "sgd" added to the gradient (the same without momentum).
      decay_embedding: the embedding too.
      max_grad_norm: longer gradients are scaled to this global norm; None: none are.
      accumulate_steps: steps whose mean gradient makes one update; each step counts the same.
      ema_decay: decay an update of the average of the weights that is evaluated and kept; None: no average.
      average_epochs: evaluate and keep the mean of the weights after each of so many last epochs; None: no mean.

    Raises:
      ValueError: accumulation or the warm-up leaves no updates, "adam" is to decay weights, or there are two averages.
    """
    if ema_decay is not None and average_epochs is not None:
        raise ValueError(f"average_epochs: expected none with ema_decay, got {average_epochs}")
    if rule == "adam" and weight_decay:
        raise ValueError(f"weight_decay: expected 0 for adam (adamw has it), got {weight_decay}")
    if accumulate_steps > num_steps:
        raise ValueError(f"accumulate_steps: expected at most the run's {num_steps} steps, got {accumulate_steps}")
    rate = _schedule(schedule, learning_rate, num_updates=num_steps // accumulate_steps, warmup_steps=warmup_steps)
    parts: list[optax.GradientTransformation] = []
    if max_grad_norm is not None:
        parts.append(optax.clip_by_global_norm(max_grad_norm))
    parts.append(_rule(rule, rate, momentum, weight_decay, lambda tree: _decayed(tree, decay_embedding)))
    plateau = optax.contrib.reduce_on_plateau(plateau_factor, plateau_patience)
    if schedule == "plateau":
        parts.append(_scale_by_plateau(plateau))
    if ema_decay is not None:
        parts.append(_average_parameters(ema_decay))
    if average_epochs is not None:
        parts.append(_remember_epochs(average_epochs))
    optimizer = optax.chain(*parts) if len(parts) > 1 else parts[0]
    if accumulate_steps > 1:
        optimizer = optax.MultiSteps(optimizer, accumulate_steps).gradient_transformation()

    def validated(state: optax.OptState, loss: float) -> optax.OptState:
        def observe(node: optax.contrib.ReduceLROnPlateauState) -> optax.contrib.ReduceLROnPlateauState:
            return cast(Any, plateau.update)({}, node, value=jnp.float32(loss))[1]

        return _replace(state, optax.contrib.ReduceLROnPlateauState, jax.jit(observe))

    return Optimizer(optimizer, validated)


def epoch_ended(state: optax.OptState, parameters: Parameters) -> optax.OptState:
    """The state after an epoch that has ended with these parameters. The one that is given is used up (donated)."""
    return _replace(state, LastEpochs, lambda last: _with_epoch(last, parameters))


def evaluated_parameters(state: optax.OptState, parameters: Parameters) -> Parameters:
    """The average of the parameters where the optimiser keeps one, else the parameters.

    An equal average is of the last epochs that have ended, of which there must be one.
    """
    if averages := _find(state, Averaged):
        return averages[0].parameters
    if last_epochs := _find(state, LastEpochs):
        return _mean(last_epochs[0])
    return parameters


def learning_rate_scale(state: optax.OptState) -> float:
    """What plateaus have multiplied the learning rate by."""
    plateaus = _find(state, optax.contrib.ReduceLROnPlateauState)
    return float(cast(Array, plateaus[0].scale)) if plateaus else 1.0


def _schedule(name: ScheduleName, peak: float, *, num_updates: int, warmup_steps: int) -> float | optax.Schedule:
    left = num_updates - warmup_steps
    if left < 1:
        raise ValueError(f"warmup_steps: expected fewer than the run's {num_updates} updates, got {warmup_steps}")
    if name == "cosine":
        after = optax.cosine_decay_schedule(peak, left)
    elif name == "linear":
        after = optax.linear_schedule(peak, 0.0, left)
    elif warmup_steps:
        after = optax.constant_schedule(peak)
    else:
        return peak
    if not warmup_steps:
        return after
    # No update is wasted on a rate of zero: the first has one part of warmup_steps + 1.
    rise = optax.linear_schedule(peak / (warmup_steps + 1), peak, warmup_steps)
    return optax.join_schedules([rise, after], [warmup_steps])


def _rule(
    name: RuleName,
    rate: float | optax.Schedule,
    momentum: float,
    weight_decay: float,
    mask: Callable[[Parameters], dict[str, bool]],
) -> optax.GradientTransformation:
    if name == "adam":
        return optax.adam(rate)
    if name == "adamw":
        return optax.adamw(rate, weight_decay=weight_decay, mask=mask)
    if name == "lion":
        return optax.lion(rate, weight_decay=weight_decay, mask=mask)
    return optax.chain(optax.add_decayed_weights(weight_decay, mask), optax.sgd(rate, momentum or None))


def _decayed(parameters: Parameters, decay_embedding: bool) -> dict[str, bool]:
    """Which parameters decay: the matrices of products by their last name, w_x, w_h, w_p or kernel."""
    names = {name: name.rpartition(".")[2] for name in parameters}
    return {
        name: last.startswith("w_") or last == "kernel" or (decay_embedding and last == "embedding")
        for name, last in names.items()
    }


def _scale_by_plateau(plateau: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies the scale of optax's plateau without telling it of a loss: validations do that, not steps."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda update: state.scale * update, updates), state

    return optax.GradientTransformation(plateau.init, update)


def _average_parameters(decay: float) -> optax.GradientTransformation:
    """Keeps an average of the parameters after each update; must be the last of a chain.

    The first weights have no part in it: after n updates the weights of update k count in proportion to decay^(n - k).
    """

    def init(params: Any) -> Averaged:
        return Averaged(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))  # a step donates both

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Averaged]:
        num_updates = state.num_updates + 1
        share = (1 - decay) / (1 - decay**num_updates)
        after = optax.apply_updates(params, updates)
        return updates, Averaged(
            num_updates, cast(Parameters, optax.incremental_update(after, state.parameters, share))
        )

    return optax.GradientTransformation(init, update)


def _remember_epochs(count: int) -> optax.GradientTransformation:
    """Has room for the parameters after so many epochs, which `epoch_ended` fills; the updates stay as they are.

    Source: Izmailov et al. 2018, arXiv:1803.05407, section 3.2, where all epochs from a given one on have a part. With
    the last n alone, an average is there from the first epoch on, and early stopping can compare them.
    """

    def init(params: Any) -> LastEpochs:
        return LastEpochs(
            jnp.zeros((), jnp.int32), jax.tree.map(lambda each: jnp.zeros((count, *each.shape), each.dtype), params)
        )

    return optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))


@jax.jit(donate_argnums=0)
def _with_epoch(last: LastEpochs, parameters: Parameters) -> LastEpochs:
    def put(places: Array, each: Array) -> Array:
        return places.at[last.num_epochs % len(places)].set(each)

    return LastEpochs(last.num_epochs + 1, jax.tree.map(put, last.parameters, parameters))


@jax.jit
def _mean(last: LastEpochs) -> Parameters:
    # Places of epochs to come are zero.
    return jax.tree.map(lambda each: each.sum(0) / jnp.minimum(last.num_epochs, len(each)), last.parameters)


def _find(state: optax.OptState, kind: type[StateType]) -> list[StateType]:
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
    return [node for node in nodes if isinstance(node, kind)]


def _replace(state: optax.OptState, kind: type[StateType], change: Callable[[StateType], StateType]) -> optax.OptState:
    def replace(node: Any) -> Any:
        return change(node) if isinstance(node, kind) else node

    return jax.tree.map(replace, state, is_leaf=lambda node: isinstance(node, kind))
