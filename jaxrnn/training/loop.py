"""The loop of training: steps, validation after each epoch, checkpoints, metrics, and stopping on request."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from jaxrnn.data import Batch, BucketedBatches, StreamBatches, WithUnlabelled
from jaxrnn.errors import InputError
from jaxrnn.tasks import Task, Totals
from jaxrnn.training.checkpoint import Checkpoints, Position
from jaxrnn.training.curves import draw_curves
from jaxrnn.training.events import Events
from jaxrnn.training.interrupt import Interrupted, InterruptGuard
from jaxrnn.training.meter import Meter
from jaxrnn.training.optimizer import Optimizer, epoch_ended, evaluated_parameters, learning_rate_scale
from jaxrnn.training.processes import is_first, largest
from jaxrnn.training.profile import Profile
from jaxrnn.training.progress import ProgressDisplay, format_duration
from jaxrnn.training.run_folder import RunFolder
from jaxrnn.training.step import Evaluation, Parameters, TrainState

logger = logging.getLogger("jaxrnn")

LOG_EVERY_STEPS = 50  # steps that a training line of metrics.jsonl sums up


class Trainer(NamedTuple):
    """What a run is made of."""

    task: Task
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Totals]]
    evaluate: Callable[[Parameters, Iterable[Batch]], Evaluation]
    train: BucketedBatches | WithUnlabelled | StreamBatches
    validation: BucketedBatches
    folder: RunFolder
    checkpoints: Checkpoints
    optimizer: Optimizer
    num_epochs: int
    num_steps: int  # of all epochs, unless fewer were asked for
    patience: int | None
    checkpoint_every_seconds: float
    checkpoint_every_steps: int | None
    skip_nonfinite: int  # so many steps may be left out
    meter: Meter
    profile: Profile | None = None
    events: Events | None = None

    def close(self) -> None:
        """Waits for what is still being written, and counts no more."""
        for part in (self.profile, self.events, self.meter, self.checkpoints):
            if part:
                part.close()


def fit(trainer: Trainer, state: TrainState, position: Position) -> Position:
    """Trains from a state and position to the end.

    After each epoch the validation loss is measured and, if it is the lowest, the parameters are kept as the best. With
    patience, training ends after so many epochs without.

    Returns:
      The position after the last step, with the best step.

    Raises:
      Interrupted: SIGINT or SIGTERM came; everything is saved.
      InputError: too many steps are not finite, or something cannot be written.
    """
    step = int(state.step)
    with InterruptGuard() as guard, _progress(trainer, step) as display:
        while position.epoch < trainer.num_epochs and step < trainer.num_steps:
            if trainer.patience is not None and position.epochs_without_best >= trainer.patience:
                display.print(
                    f"step {step}: {trainer.patience} epochs without a better validation loss, stopping early"
                )
                break
            state, position = _train_epoch(trainer, state, position, guard, display)
            step = int(state.step)
            state, position = _validate(trainer, state, position, display)
            with trainer.meter.timing("saving"):
                trainer.checkpoints.save_latest(state, position)
            _, signal_number = largest(0, guard.signal_number or 0)
            _stop_if_asked(trainer, signal_number)
    return position


def _train_epoch(
    trainer: Trainer, state: TrainState, position: Position, guard: InterruptGuard, display: ProgressDisplay
) -> tuple[TrainState, Position]:
    start = last_save = time.monotonic()
    begun = position
    step, skipped = int(state.step), position.totals.skipped
    batches = trainer.train.epoch(position.epoch, start=position.batch)
    timing = trainer.meter.timing
    with timing("input"):
        batch = next(batches, None)
    while batch is not None:
        with timing("step"):
            state, totals = trainer.train_step(state, batch)
        with timing("input"):
            current, batch = batch, next(batches, None)  # the next is prepared here while the device is at work
        step += 1
        with timing("step"):
            position = position._replace(
                batch=position.batch + 1,
                totals=position.totals.plus(totals),
                window=position.window.plus(totals),
                seconds=begun.seconds + time.monotonic() - start,
            )
        if trainer.profile:
            trainer.profile.step_done()
        if position.totals.skipped > skipped:
            skipped = position.totals.skipped
            position = position._replace(skipped=position.skipped + 1)
            _report_skipped(trainer, step, position.skipped, current)
        rate = (position.totals.tokens - begun.totals.tokens) / (position.seconds - begun.seconds)
        if step % LOG_EVERY_STEPS == 0 and position.window.examples:
            _record(trainer, step, position, "train", position.window, tokens_per_second=round(rate, 1))
            position = position._replace(window=Totals())
        told = trainer.task.describe(position.totals)
        display.update(step, f"{_place(trainer, step, position)} {told}, {rate:,.0f} tokens/s")
        if batch is None or step == trainer.num_steps:
            break  # validation comes next, and a save after it: the two are one
        due = time.monotonic() - last_save >= trainer.checkpoint_every_seconds
        if trainer.checkpoint_every_steps:
            due |= step % trainer.checkpoint_every_steps == 0
        # All processes save and stop at the same step, also if it is due, or the signal came, at one alone.
        due, signal_number = largest(due, guard.signal_number or 0)
        if due or signal_number:
            with timing("saving"):
                trainer.checkpoints.save_latest(state, position)
            last_save = time.monotonic()
        _stop_if_asked(trainer, signal_number)
    return state, position


def _report_skipped(trainer: Trainer, step: int, count: int, batch: Batch) -> None:
    indices = ", ".join(map(str, sorted(batch.indices[batch.indices >= 0])))
    beside = ", or the unlabelled batch beside them" if batch.unlabelled else ""
    what = f"step {step}: the loss or its gradient is not finite (training examples {indices}, from 0{beside})"
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
    start = time.monotonic()
    step = int(state.step)
    state = state._replace(optimizer=epoch_ended(state.optimizer, state.parameters))
    parameters = evaluated_parameters(state.optimizer, state.parameters)
    with trainer.meter.timing("evaluation"):
        totals = trainer.evaluate(parameters, trainer.validation.in_order()).totals
    seconds = position.seconds + time.monotonic() - start
    if not math.isfinite(totals.loss):
        raise InputError(
            f"step {step}: the validation loss is not finite; try a lower optim.learning_rate in a new run_dir"
        )
    best_loss = math.inf if position.best_loss is None else position.best_loss
    is_best = totals.mean_loss < best_loss
    trained = position.totals
    position = position._replace(seconds=seconds, epochs_without_best=position.epochs_without_best + 1)
    if is_best:
        with trainer.meter.timing("saving"):
            trainer.checkpoints.save_best(step, parameters)
        position = position._replace(best_loss=totals.mean_loss, best_step=step, epochs_without_best=0)
    scale = learning_rate_scale(state.optimizer)
    state = state._replace(optimizer=trainer.optimizer.validated(state.optimizer, totals.mean_loss))
    metrics = {f"train_{name}": value for name, value in trainer.task.metrics(trained).items()}
    _record(trainer, step, position, "validation", totals, **metrics)
    if is_first():
        draw_curves(trainer.folder.read_metrics(), trainer.folder.curves, trainer.folder.path.name)
    display.print(
        f"{_place(trainer, step, position)} done after {format_duration(seconds)}: "
        f"train {trainer.task.describe(trained)}; validation {trainer.task.describe(totals)}"
        f"{', the best so far' if is_best else ''}"
    )
    if learning_rate_scale(state.optimizer) != scale:
        display.print(f"step {step}: a plateau, the learning rate is cut")
    return state, position._replace(epoch=position.epoch + 1, batch=0, totals=Totals())


def _record(trainer: Trainer, step: int, position: Position, split: str, totals: Totals, **extra: float) -> None:
    if not is_first():
        return
    record = {
        "step": step,
        "epoch": position.epoch + 1,
        "split": split,
        **trainer.task.metrics(totals),
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
      trainer: the run.
      like: a state with the shapes and dtypes that are expected.
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
