"""The optimiser, composed from optax: clipping, update rule, schedule, averaged weights and gradient accumulation.

Everything that it remembers is in one optax state, so a checkpoint of this state is complete.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxrnn.training.parameters import Kind, Parameters

RuleName = Literal["adam", "adamw", "sgd", "lion"]
ScheduleName = Literal["constant", "cosine", "linear", "plateau"]

StateType = TypeVar("StateType")


class Optimizer(NamedTuple):
    """An optimiser that also reacts to validations.

    Attributes:
      transformation: Turns gradients into updates.
      validated: Maps the state and the loss of a validation to the state after it, which may have a lower learning
        rate.
    """

    transformation: optax.GradientTransformation
    validated: Callable[[optax.OptState, float], optax.OptState]


class Averaged(NamedTuple):
    """The exponential moving average of the parameters.

    Attributes:
      num_updates: The number of updates so far, an int32 scalar.
      parameters: The average, by name.
    """

    num_updates: Array
    parameters: Parameters


class LastEpochs(NamedTuple):
    """The parameters after each of the last n epochs.

    Attributes:
      num_epochs: The number of epochs that have ended so far, an int32 scalar.
      parameters: By name, arrays `[n, ...]`; the parameters after epoch k, counted from 0, are at index k mod n.
    """

    num_epochs: Array
    parameters: Parameters


def make_optimizer(
    *,
    rule: RuleName,
    learning_rate: float,
    num_steps: int,
    kinds: Mapping[str, Kind] | None = None,
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
    """Composes an optimiser.

    Args:
      rule: The rule that turns gradients into updates.
      learning_rate: The peak learning rate.
      num_steps: The number of steps of the whole run, one batch each.
      kinds: The kind of each parameter, by name, which decides whether it decays. None: allowed without weight decay.
      schedule: The learning rate after the warm-up: "constant"; "cosine" or "linear", which reach zero after the last
        update; or "plateau", which is reduced after validations without progress.
      warmup_steps: The number of updates over which the rate rises linearly.
      plateau_patience: The number of validations in a row whose loss is not lower by a relative 1e-4, after which
        "plateau" reduces the rate.
      plateau_factor: The factor by which "plateau" multiplies the rate.
      momentum: The momentum of "sgd".
      weight_decay: The decay of weight matrices; biases and norms do not decay. For "adamw" and "lion" it is decoupled
        and multiplied by the learning rate; for "sgd" it is added to the gradient (the same if there is no momentum).
      decay_embedding: Whether the embedding decays too.
      max_grad_norm: The global norm to which larger gradients are scaled down. None: there is no clipping.
      accumulate_steps: The number of steps whose mean gradient makes one update. Each step has the same weight.
      ema_decay: The decay per update of an exponential moving average of the weights, which is then evaluated and kept.
        None: there is no such average.
      average_epochs: The number of last epochs whose weights are averaged for evaluation and keeping. None: there is no
        such average.

    Raises:
      ValueError: Accumulation or the warm-up leaves no updates, "adam" has weight decay, weight decay is without
        `kinds`, or two averages are asked for.
    """
    if ema_decay is not None and average_epochs is not None:
        raise ValueError(f"average_epochs: expected none with ema_decay, got {average_epochs}")
    if rule == "adam" and weight_decay:
        raise ValueError(f"weight_decay: expected 0 for adam (adamw has it), got {weight_decay}")
    if weight_decay and not kinds:
        raise ValueError("kinds: expected the kind of each parameter, with weight decay, got none")
    if accumulate_steps > num_steps:
        raise ValueError(f"accumulate_steps: expected at most the run's {num_steps} steps, got {accumulate_steps}")
    rate = _schedule(schedule, learning_rate, num_updates=num_steps // accumulate_steps, warmup_steps=warmup_steps)
    parts: list[optax.GradientTransformation] = []
    if max_grad_norm is not None:
        parts.append(optax.clip_by_global_norm(max_grad_norm))
    decayed = {name: kind.is_matrix or (decay_embedding and kind.is_embedding) for name, kind in (kinds or {}).items()}
    parts.append(
        _rule(rule, rate, momentum, weight_decay, lambda tree: {name: decayed.get(name, False) for name in tree})
    )
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
    """Returns the state after an epoch that ended with these parameters. The given state is donated."""
    return _replace(state, LastEpochs, lambda last: _with_epoch(last, parameters))


def evaluated_parameters(state: optax.OptState, parameters: Parameters) -> Parameters:
    """Returns the average of the parameters if the optimiser keeps one, otherwise the parameters.

    If the last epochs are averaged, at least one epoch must have ended.
    """
    if averages := _find(state, Averaged):
        return averages[0].parameters
    if last_epochs := _find(state, LastEpochs):
        return _mean(last_epochs[0])
    return parameters


def learning_rate_scale(state: optax.OptState) -> float:
    """Returns the factor by which plateaus have reduced the learning rate so far."""
    plateaus = _find(state, optax.contrib.ReduceLROnPlateauState)
    return float(cast(Array, plateaus[0].scale)) if plateaus else 1.0


def _schedule(name: ScheduleName, peak: float, *, num_updates: int, warmup_steps: int) -> float | optax.Schedule:
    num_remaining = num_updates - warmup_steps
    if num_remaining < 1:
        raise ValueError(f"warmup_steps: expected fewer than the run's {num_updates} updates, got {warmup_steps}")
    if name == "cosine":
        after = optax.cosine_decay_schedule(peak, num_remaining)
    elif name == "linear":
        after = optax.linear_schedule(peak, 0.0, num_remaining)
    elif warmup_steps:
        after = optax.constant_schedule(peak)
    else:
        return peak
    if not warmup_steps:
        return after
    # The first update has the rate peak / (warmup_steps + 1) and not zero, which would waste it.
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


def _scale_by_plateau(plateau: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies the scale of optax's plateau, whose state changes after validations and not after steps."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda update: state.scale * update, updates), state

    return optax.GradientTransformation(plateau.init, update)


def _average_parameters(decay: float) -> optax.GradientTransformation:
    """Keeps an average of the parameters after each update; must be the last transformation of a chain.

    The initial weights have no part in it: after n updates the weights of update k have a weight proportional to
    decay^(n - k).
    """

    def init(params: Any) -> Averaged:
        return Averaged(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))  # copies, because a step donates both

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Averaged]:
        num_updates = state.num_updates + 1
        share = (1 - decay) / (1 - decay**num_updates)
        after = optax.apply_updates(params, updates)
        return updates, Averaged(
            num_updates, cast(Parameters, optax.incremental_update(after, state.parameters, share))
        )

    return optax.GradientTransformation(init, update)


def _remember_epochs(count: int) -> optax.GradientTransformation:
    """Stores the parameters after the last `count` epochs, which `epoch_ended` records; updates are not changed.

    Source: Izmailov et al. 2018, arXiv:1803.05407, section 3.2, which averages all epochs from a given one on. With the
    last n epochs there is an average from the first epoch on, so early stopping can compare the averages.
    """

    def init(params: Any) -> LastEpochs:
        zeros = jax.tree.map(lambda parameter: jnp.zeros((count, *parameter.shape), parameter.dtype), params)
        return LastEpochs(jnp.zeros((), jnp.int32), zeros)

    return optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))


@jax.jit(donate_argnums=0)
def _with_epoch(last: LastEpochs, parameters: Parameters) -> LastEpochs:
    def record(stored: Array, parameter: Array) -> Array:
        return stored.at[last.num_epochs % len(stored)].set(parameter)

    return LastEpochs(last.num_epochs + 1, jax.tree.map(record, last.parameters, parameters))


@jax.jit
def _mean(last: LastEpochs) -> Parameters:
    # Epochs that have not ended yet are stored as zeros, so the sum is that of the others.
    return jax.tree.map(lambda stored: stored.sum(0) / jnp.minimum(last.num_epochs, len(stored)), last.parameters)


def _find(state: optax.OptState, kind: type[StateType]) -> list[StateType]:
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
    return [node for node in nodes if isinstance(node, kind)]


def _replace(state: optax.OptState, kind: type[StateType], change: Callable[[StateType], StateType]) -> optax.OptState:
    def replace(node: Any) -> Any:
        return change(node) if isinstance(node, kind) else node

    return jax.tree.map(replace, state, is_leaf=lambda node: isinstance(node, kind))
