"""The loop of training: steps, validation after each epoch, checkpoints, metrics, and stopping on request."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from jaxrnn.data import Batch, BucketedBatches
from jaxrnn.errors import InputError
from jaxrnn.training.checkpoint import Checkpoints, Position
from jaxrnn.training.curves import draw_curves
from jaxrnn.training.interrupt import InterruptGuard
from jaxrnn.training.progress import ProgressDisplay, format_duration
from jaxrnn.training.run_folder import RunFolder
from jaxrnn.training.step import Evaluation, Parameters, Totals, TrainState

logger = logging.getLogger("jaxrnn")

LOG_EVERY_STEPS = 50  # steps that a training line of metrics.jsonl sums up


class Trainer(NamedTuple):
    """What a run is made of."""

    train_step: Callable[[TrainState, Batch], tuple[TrainState, Totals]]
    evaluate: Callable[[Parameters, Iterable[Batch]], Evaluation]
    train: BucketedBatches
    validation: BucketedBatches
    folder: RunFolder
    checkpoints: Checkpoints
    num_epochs: int
    max_steps: int | None
    checkpoint_every_seconds: float
    checkpoint_every_steps: int | None
    skip_nonfinite: int  # so many steps may be left out

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return min(self.num_epochs * self.train.num_batches, self.max_steps or math.inf)  # type: ignore[return-value]


def fit(trainer: Trainer, state: TrainState, position: Position) -> Position:
    """Trains from a state and position to the end.

    After each epoch the validation loss is measured and, if it is the lowest, the parameters are kept as the best.

    Returns:
      The position after the last step, with the best step.

    Raises:
      Interrupted: SIGINT or SIGTERM came; everything is saved.
      InputError: too many steps are not finite, or something cannot be written.
    """
    step = int(state.step)
    with InterruptGuard() as guard, ProgressDisplay(total=trainer.num_steps, completed=step) as display:
        while position.epoch < trainer.num_epochs and step < trainer.num_steps:
            state, position = _train_epoch(trainer, state, position, guard, display)
            step = int(state.step)
            position = _validate(trainer, state, position, display)
            trainer.checkpoints.save_latest(state, position)
            _stop_if_asked(trainer, guard)
    return position


def _train_epoch(
    trainer: Trainer, state: TrainState, position: Position, guard: InterruptGuard, display: ProgressDisplay
) -> tuple[TrainState, Position]:
    start = last_save = time.monotonic()
    begun = position
    step, skipped = int(state.step), position.totals.skipped
    batches = trainer.train.epoch(position.epoch, start=position.batch)
    batch = next(batches, None)
    while batch is not None:
        state, totals = trainer.train_step(state, batch)
        current, batch = batch, next(batches, None)  # the next is prepared here while the device is at work
        step += 1
        position = position._replace(
            batch=position.batch + 1,
            totals=position.totals.plus(totals),
            window=position.window.plus(totals),
            seconds=begun.seconds + time.monotonic() - start,
        )
        if position.totals.skipped > skipped:
            skipped = position.totals.skipped
            position = position._replace(skipped=position.skipped + 1)
            _report_skipped(trainer, step, position.skipped, current)
        rate = (position.totals.tokens - begun.totals.tokens) / (position.seconds - begun.seconds)
        if step % LOG_EVERY_STEPS == 0 and position.window.examples:
            _record(trainer, step, position, "train", position.window, tokens_per_second=round(rate, 1))
            position = position._replace(window=Totals())
        display.update(step, _describe(f"epoch {position.epoch + 1}/{trainer.num_epochs}", position.totals, rate))
        if batch is None or step == trainer.num_steps:
            break  # validation comes next, and a save after it: the two are one
        due = time.monotonic() - last_save >= trainer.checkpoint_every_seconds
        if trainer.checkpoint_every_steps:
            due |= step % trainer.checkpoint_every_steps == 0
        if due or guard.signal_number is not None:
            trainer.checkpoints.save_latest(state, position)
            last_save = time.monotonic()
        _stop_if_asked(trainer, guard)
    return state, position


def _report_skipped(trainer: Trainer, step: int, count: int, batch: Batch) -> None:
    indices = ", ".join(map(str, sorted(batch.indices[batch.indices >= 0])))
    what = f"step {step}: the loss or its gradient is not finite (training examples {indices}, from 0)"
    if count > trainer.skip_nonfinite:
        raise InputError(
            f"{what}, and optim.skip_nonfinite is {trainer.skip_nonfinite}; look at these examples, or try a lower "
            "optim.learning_rate or a higher optim.skip_nonfinite in a new run_dir"
        )
    logger.warning("%s; skipped, %d of at most %d", what, count, trainer.skip_nonfinite)


def _stop_if_asked(trainer: Trainer, guard: InterruptGuard) -> None:
    if guard.signal_number is not None:
        trainer.checkpoints.wait()  # while a second signal still ends the process
        guard.raise_if_set()


def _validate(trainer: Trainer, state: TrainState, position: Position, display: ProgressDisplay) -> Position:
    start = time.monotonic()
    step = int(state.step)
    totals = trainer.evaluate(state.parameters, trainer.validation.in_order()).totals
    seconds = position.seconds + time.monotonic() - start
    if not math.isfinite(totals.loss):
        raise InputError(
            f"step {step}: the validation loss is not finite; try a lower optim.learning_rate in a new run_dir"
        )
    best_loss = math.inf if position.best_loss is None else position.best_loss
    is_best = totals.mean_loss < best_loss
    trained = position.totals
    position = position._replace(seconds=seconds)
    if is_best:
        trainer.checkpoints.save_best(step, state.parameters)
        position = position._replace(best_loss=totals.mean_loss, best_step=step)
    _record(
        trainer, step, position, "validation", totals, train_loss=trained.mean_loss, train_accuracy=trained.accuracy
    )
    draw_curves(trainer.folder.read_metrics(), trainer.folder.curves, trainer.folder.path.name)
    display.print(
        f"epoch {position.epoch + 1}/{trainer.num_epochs} done after {format_duration(seconds)}: "
        f"{_describe('train', trained)}; {_describe('validation', totals)}{', the best so far' if is_best else ''}"
    )
    return position._replace(epoch=position.epoch + 1, batch=0, totals=Totals())


def _record(trainer: Trainer, step: int, position: Position, split: str, totals: Totals, **extra: float) -> None:
    trainer.folder.append_metrics(
        {
            "step": step,
            "epoch": position.epoch + 1,
            "split": split,
            "loss": totals.mean_loss,
            "accuracy": totals.accuracy,
            "seconds": round(position.seconds, 2),
            **extra,
        }
    )


def _describe(name: str, totals: Totals, tokens_per_second: float | None = None) -> str:
    rate = "" if tokens_per_second is None else f", {tokens_per_second:,.0f} tokens/s"
    return f"{name} loss {totals.mean_loss:.4f}, accuracy {100 * totals.accuracy:.2f} %{rate}"


def resume(trainer: Trainer, like: TrainState) -> tuple[TrainState, Position] | None:
    """The state and position of the latest checkpoint, or None for a run that has none.

    Args:
      trainer: the run.
      like: a state with the shapes and dtypes that are expected.
    """
    restored = trainer.checkpoints.restore_latest(like)
    if restored is None:
        trainer.folder.rewind_metrics(-1)
        return None
    state, position = restored
    step = int(state.step)
    trainer.folder.rewind_metrics(step)
    logger.info(
        "resuming at step %d of %d (epoch %d of %d) from %s",
        step, trainer.num_steps, min(position.epoch + 1, trainer.num_epochs), trainer.num_epochs, trainer.folder.path,
    )  # fmt: skip
    return state, position
