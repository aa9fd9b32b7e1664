"""The loop of training: steps, validation after each epoch, checkpoints, metrics, and stopping on request."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import numpy as np

from jaxrnn.data import Batch, Batches, BucketedBatches, Examples
from jaxrnn.errors import InputError
from jaxrnn.training.checkpoint import Checkpoints, Position
from jaxrnn.training.curves import Curves
from jaxrnn.training.events import Events
from jaxrnn.training.interrupt import Interrupted, InterruptGuard
from jaxrnn.training.meter import Meter
from jaxrnn.training.optimizer import Optimizer, epoch_ended, evaluated_parameters, learning_rate_scale
from jaxrnn.training.parameters import Parameters
from jaxrnn.training.processes import is_first, largest
from jaxrnn.training.profile import Profile
from jaxrnn.training.progress import ProgressDisplay, format_duration
from jaxrnn.training.run_folder import RunFolder
from jaxrnn.training.step import Evaluation, StepResult, TrainState
from jaxrnn.training.task import Sums, Task, add

logger = logging.getLogger("jaxrnn")

LOG_EVERY_STEPS = 50  # steps that a training line of metrics.jsonl sums up


class Trainer(NamedTuple):
    """What a run is made of."""

    task: Task
    train_step: Callable[[TrainState, Batch], StepResult]
    evaluate: Callable[[Parameters, Iterable[Batch], Examples | None], Evaluation]
    train: Batches
    validation: BucketedBatches
    validation_examples: Examples
    folder: RunFolder
    checkpoints: Checkpoints
    optimizer: Optimizer
    num_epochs: int
    num_steps: int  # over all epochs, unless fewer were asked for
    patience: int | None
    checkpoint_every_seconds: float
    checkpoint_every_steps: int | None
    skip_nonfinite: int  # the number of steps that may be skipped
    meter: Meter
    profile: Profile | None = None
    events: Events | None = None

    def close(self) -> None:
        """Waits for what is still being written, and ends all counting."""
        for part in (self.profile, self.events, self.meter, self.checkpoints):
            if part:
                part.close()


class Running(NamedTuple):
    """A step that was handed to the device and whose sums have not been read yet."""

    step: int
    indices: np.ndarray  # of its examples
    result: StepResult


class Begin(NamedTuple):
    """Where this start of an epoch began."""

    position: Position
    time: float


def fit(trainer: Trainer, state: TrainState, position: Position) -> Position:
    """Trains from a state and position to the end.

    After each epoch the model is validated and, if the task's selected metric is better than ever, the parameters are
    kept as the best. With patience, training ends after that many epochs in a row without a better one.

    Returns:
      The position after the last step, with the best step.

    Raises:
      Interrupted: SIGINT or SIGTERM came; everything is saved.
      InputError: Too many steps are not finite, or something cannot be written.
    """
    step = int(state.step)
    curves = Curves(trainer.folder, trainer.task.metrics)
    with InterruptGuard() as guard, curves, _progress(trainer, step) as display:
        while position.epoch < trainer.num_epochs and step < trainer.num_steps:
            if trainer.patience is not None and position.epochs_without_best >= trainer.patience:
                display.print(
                    f"step {step}: {trainer.patience} epochs without a better validation {trainer.task.select}, "
                    "stopping early"
                )
                break
            state, position = _train_epoch(trainer, state, position, guard, display)
            step = int(state.step)
            state, position = _validate(trainer, state, position, display)
            if is_first():
                curves.update()
            with trainer.meter.timing("saving"):
                trainer.checkpoints.save_latest(state, position)
            _, signal_number = largest(0, guard.signal_number or 0)
            _stop_if_asked(trainer, signal_number)
    return position


def _train_epoch(
    trainer: Trainer, state: TrainState, position: Position, guard: InterruptGuard, display: ProgressDisplay
) -> tuple[TrainState, Position]:
    """One epoch, or what is left of it.

    A step's sums are read only after the next step has been handed to the device, which so never waits for the host.
    Before a checkpoint all of them are read, as they are part of the position that is saved.
    """
    begin = Begin(position, time.monotonic())
    step, last_save = int(state.step), begin.time
    timing = trainer.meter.timing
    batches = trainer.train.epoch(position.epoch, start=position.batch)
    running: Running | None = None
    with timing("input"):
        batch = next(batches, None)
    while batch is not None:
        with timing("step"):
            result = trainer.train_step(state, batch)
        state, step = result.state, step + 1
        before, running = running, Running(step, batch.indices, result)
        with timing("input"):
            batch = next(batches, None)  # prepared here while the device is at work
        if before:
            position = _read(trainer, before, position, begin, display)
        if trainer.profile:
            trainer.profile.step_done()
        if batch is None or step == trainer.num_steps:
            break  # validation comes next, and a save after it: the two are one
        due = time.monotonic() - last_save >= trainer.checkpoint_every_seconds
        if trainer.checkpoint_every_steps:
            due |= step % trainer.checkpoint_every_steps == 0
        # All processes save and stop at the same step, even if it is due, or the signal came, at one of them alone.
        due, signal_number = largest(due, guard.signal_number or 0)
        if due or signal_number:
            position, running = _read(trainer, running, position, begin, display), None
            with timing("saving"):
                trainer.checkpoints.save_latest(state, position)
            last_save = time.monotonic()
        _stop_if_asked(trainer, signal_number)
    if running:
        position = _read(trainer, running, position, begin, display)
    return state, position


def _read(trainer: Trainer, running: Running, position: Position, begin: Begin, display: ProgressDisplay) -> Position:
    """The position after a step, once its sums have come from the device; they are recorded and shown."""
    with trainer.meter.timing("step"):
        sums, is_finite = jax.device_get((running.result.sums, running.result.is_finite))
    position = position._replace(
        batch=position.batch + 1,
        totals=add(position.totals, sums),
        window=add(position.window, sums),
        seconds=begin.position.seconds + time.monotonic() - begin.time,
        skipped=position.skipped + (not is_finite),
    )
    if not is_finite:
        _report_skipped(trainer, running, position.skipped)
    task = trainer.task
    counted = position.totals["count"] - begin.position.totals.get("count", 0)
    rate = counted / (position.seconds - begin.position.seconds)
    if running.step % LOG_EVERY_STEPS == 0 and position.window["count"]:
        _record(
            trainer, running.step, position, "train", position.window, **{f"{task.unit}_per_second": round(rate, 1)}
        )
        position = position._replace(window={})
    place = _place(trainer, running.step, position)
    display.update(running.step, f"{place} {task.describe(position.totals)}, {rate:,.0f} {task.unit}/s")
    return position


def _report_skipped(trainer: Trainer, running: Running, count: int) -> None:
    indices = ", ".join(map(str, sorted(running.indices[running.indices >= 0])))
    what = f"step {running.step}: the loss or its gradient is not finite (training examples {indices}, counted from 0)"
    if count > trainer.skip_nonfinite:
        raise InputError(
            f"{what}, and optim.skip_nonfinite is {trainer.skip_nonfinite}; look at these examples, or try a lower "
            "optim.learning_rate or a higher optim.skip_nonfinite in a new run_dir"
        )
    logger.warning("%s; skipped, %d of at most %d", what, count, trainer.skip_nonfinite)


def _stop_if_asked(trainer: Trainer, signal_number: int) -> None:
    if signal_number:
        trainer.checkpoints.wait()  # while a second signal still ends the process
        raise Interrupted(signal_number)


def _validate(
    trainer: Trainer, state: TrainState, position: Position, display: ProgressDisplay
) -> tuple[TrainState, Position]:
    start, step, task = time.monotonic(), int(state.step), trainer.task
    state = state._replace(optimizer=epoch_ended(state.optimizer, state.parameters))
    parameters = evaluated_parameters(state.optimizer, state.parameters)
    with trainer.meter.timing("evaluation"):
        examples = trainer.validation_examples if task.score else None
        sums = trainer.evaluate(parameters, trainer.validation.in_order(), examples).sums
    loss, selected = (task.metrics[name].of(sums) for name in ("loss", task.select))
    if not math.isfinite(loss):
        raise InputError(
            f"step {step}: the validation loss is not finite; try a lower optim.learning_rate in a new run_dir"
        )
    is_best = _is_better(task, selected, position.best)
    trained = position.totals
    position = position._replace(
        seconds=position.seconds + time.monotonic() - start, epochs_without_best=position.epochs_without_best + 1
    )
    if is_best:
        with trainer.meter.timing("saving"):
            trainer.checkpoints.save_best(step, parameters)
        position = position._replace(best=selected, best_step=step, epochs_without_best=0)
    scale = learning_rate_scale(state.optimizer)
    state = state._replace(optimizer=trainer.optimizer.validated(state.optimizer, loss))
    metrics = {f"train_{name}": value for name, value in task.measure(trained).items()}
    _record(trainer, step, position, "validation", sums, **metrics)
    display.print(
        f"{_place(trainer, step, position)} done after {format_duration(position.seconds)}: "
        f"train {task.describe(trained) or 'skipped every step'}; validation {task.describe(sums)}"
        f"{', the best so far' if is_best else ''}"
    )
    if learning_rate_scale(state.optimizer) != scale:
        display.print(f"step {step}: the validation loss is on a plateau, so the learning rate is cut")
    return state, position._replace(epoch=position.epoch + 1, batch=0, totals={})


def _is_better(task: Task, value: float, best: float | None) -> bool:
    if best is None or math.isnan(best):
        return True
    return value > best if task.metrics[task.select].higher_is_better else value < best


def _record(trainer: Trainer, step: int, position: Position, split: str, sums: Sums, **extra: float) -> None:
    if not is_first():
        return
    record = {
        "step": step,
        "epoch": position.epoch + 1,
        "split": split,
        **trainer.task.measure(sums),
        "seconds": round(position.seconds, 2),
        **extra,
    }
    trainer.folder.append_metrics(record)
    if trainer.events:
        trainer.events.write(record)


def _progress(trainer: Trainer, step: int) -> ProgressDisplay:
    return ProgressDisplay(total=trainer.num_steps, completed=step, shown=is_first())


def _place(trainer: Trainer, step: int, position: Position) -> str:
    return f"step {step}, epoch {position.epoch + 1}/{trainer.num_epochs}"


def resume(trainer: Trainer, like: TrainState) -> tuple[TrainState, Position] | None:
    """The state and position of the latest checkpoint, or None for a run that has none.

    Args:
      trainer: The run.
      like: A state with the shapes and dtypes that are expected.
    """
    restored = trainer.checkpoints.restore_latest(like)
    step = int(restored[0].step) if restored else -1
    if is_first():
        trainer.folder.rewind_metrics(step)
    if restored is None:
        return None
    state, position = restored
    logger.info(
        "resuming at step %d of %d (epoch %d of %d) from %s",
        step, trainer.num_steps, min(position.epoch + 1, trainer.num_epochs), trainer.num_epochs, trainer.folder.path,
    )  # fmt: skip
    return state, position
