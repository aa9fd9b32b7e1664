"""Checkpoints of a run: the latest few to resume from, the best to evaluate. No pickle is involved."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrnn.errors import InputError
from jaxrnn.tasks import Totals
from jaxrnn.training.series import Series
from jaxrnn.training.step import Parameters, TrainState


class Position(NamedTuple):
    """Where a run stands, apart from its arrays: all numbers of Python."""

    epoch: int = 0  # the number of the current epoch, from 0
    batch: int = 0  # batches of it that are done
    totals: Totals = Totals()  # of the epoch so far
    window: Totals = Totals()  # since the last line of metrics.jsonl
    best_loss: float | None = None  # lowest validation loss so far
    best_step: int = 0
    seconds: float = 0.0  # spent training and validating so far, over all starts
    skipped: int = 0  # steps that changed nothing, as their gradient was not finite
    epochs_without_best: int = 0  # in a row, up to now

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Position":
        """From what JSON makes of `_asdict()`, where the sums have become lists."""
        fields: dict[str, Any] = values | {name: Totals(*values[name]) for name in ("totals", "window")}
        return cls(**fields)


class Checkpoints:
    """The checkpoints in a folder: `latest/` to resume from, `best/` to evaluate.

    Files are written in the background and count only once they are whole and on the disk, so a kill or a full disk
    leaves the earlier checkpoints as they are. One that has been damaged is passed over, with a warning.

    Args:
      folder: where they are.
      num_kept: of the latest; of the best one more, so that each of the latest finds the best of its time.
      read_only: nothing will be saved, and nothing is created.
      on_disk_first: a file that must be on the disk before a checkpoint counts.
    """

    def __init__(self, folder: Path, *, num_kept: int = 2, read_only: bool = False, on_disk_first: Path | None = None):
        self._latest = Series(folder / "latest", num_kept=num_kept, read_only=read_only, on_disk_first=on_disk_first)
        self._best = Series(folder / "best", num_kept=num_kept + 1, read_only=read_only)

    def save_latest(self, state: TrainState, position: Position) -> None:
        """Saves everything that a resumed run needs."""
        self.wait()  # the position may name the best
        self._latest.save(int(state.step), _items(state), position._asdict())

    def save_best(self, step: int, parameters: Parameters) -> None:
        """Saves the parameters with the best validation loss so far."""
        self.wait()  # one at a time, also where several hosts meet to save
        self._best.save(step, {"parameters": parameters}, {})

    def restore_latest(self, like: TrainState) -> tuple[TrainState, Position] | None:
        """The state and position of the latest whole checkpoint, or None if there is none; later ones are dropped.

        Args:
          like: a state with the shapes and dtypes that are expected.

        Raises:
          InputError: there are checkpoints, but none that can be used.
        """
        found = self._latest.restore(_items(like))
        for series in (self._latest, self._best):
            series.drop_after(-1 if found is None else found.step)
        if found is None:
            return None
        try:
            state = TrainState(**found.items["state"], carry=found.items.get("carry", ()))
            return state, Position.from_json(found.about)
        except (KeyError, TypeError) as error:  # its checksums are right: a foreign release wrote it
            raise InputError(f"{self._latest.folder / str(found.step)}: says no position that is known") from error

    def restore_best(self, like: Parameters) -> tuple[Parameters, int]:
        """The best parameters and their step; raises InputError if none were saved."""
        found = self._best.restore({"parameters": like})
        if found is None:
            raise InputError(f"{self._best.folder}: holds no checkpoint yet; train for at least one epoch")
        return found.items["parameters"], found.step

    def wait(self) -> None:
        """Waits until everything is written."""
        self._best.wait()
        self._latest.wait()

    def close(self) -> None:
        """Waits until everything is written, and ends the threads that wrote it."""
        try:
            self._best.close()
        finally:
            self._latest.close()


def _items(state: TrainState) -> dict[str, Any]:
    """What is saved of a state: the carry apart, as older checkpoints have none, and only where there is one."""
    items = state._asdict()
    carry = items.pop("carry")
    return {"state": items} | ({"carry": carry} if jax.tree.leaves(carry) else {})
