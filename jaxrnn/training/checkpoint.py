"""The checkpoints of a run: the latest few to resume from, and the best to evaluate. Pickle is not used."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.errors import InputError
from jaxrnn.training.parameters import Parameters
from jaxrnn.training.series import Series
from jaxrnn.training.step import TrainState
from jaxrnn.training.task import Sums


class Position(NamedTuple):
    """Where a run stands, apart from its arrays.

    Attributes:
      epoch: The number of the current epoch, from 0.
      batch: The number of batches of this epoch that are done.
      totals: The sums of the epoch so far.
      window: The sums since the last line of metrics.jsonl.
      best: The best validation value so far of the metric that the task selects by; None before the first validation.
      best_step: The step of that validation.
      seconds: The seconds spent on training and validation so far, over all starts.
      skipped: The number of steps that changed nothing because their loss or gradient was not finite.
      epochs_without_best: The number of epochs since the best one.
    """

    epoch: int = 0
    batch: int = 0
    totals: Sums = {}  # noqa: RUF012 - never changed in place
    window: Sums = {}  # noqa: RUF012
    best: float | None = None
    best_step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    epochs_without_best: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns the position as a JSON object; arrays become lists."""
        lists = {name: jax.tree.map(_plain, getattr(self, name)) for name in ("totals", "window")}
        return self._asdict() | lists

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Position":
        """Returns the position that `to_json` wrote; lists become arrays."""
        arrays = {
            name: {key: np.array(sums) if isinstance(sums, list) else sums for key, sums in values[name].items()}
            for name in ("totals", "window")
        }
        fields: dict[str, Any] = values | arrays
        return cls(**fields)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


class Checkpoints:
    """The checkpoints in a folder: `latest/` to resume from, `best/` to evaluate.

    Checkpoints are written in the background and are used only once they are complete and on the disk, so a kill or a
    full disk leaves the earlier ones intact. A damaged checkpoint is skipped with a warning.

    Args:
      folder: The folder with `latest/` and `best/`.
      num_kept: The number of latest checkpoints to keep. One more of the best is kept, so that the best one at the time
        of each of the latest is still there.
      read_only: Whether checkpoints are only read. If so, not even the folder is created.
      on_disk_first: A file that is forced to the disk before a latest checkpoint counts as complete. None: there is no
        such file.
    """

    def __init__(self, folder: Path, *, num_kept: int = 2, read_only: bool = False, on_disk_first: Path | None = None):
        self._latest = Series(folder / "latest", num_kept=num_kept, read_only=read_only, on_disk_first=on_disk_first)
        self._best = Series(folder / "best", num_kept=num_kept + 1, read_only=read_only)

    def save_latest(self, state: TrainState, position: Position) -> None:
        """Saves everything that is needed to resume, in the background."""
        self.wait()  # the position may name a best checkpoint, which must be complete first
        self._latest.save(int(state.step), _items(state), position.to_json())

    def save_best(self, step: int, parameters: Parameters) -> None:
        """Saves the parameters of the best validation so far, in the background."""
        self.wait()  # one save at a time, because all hosts must save in the same order
        self._best.save(step, {"parameters": parameters}, {})

    def restore_latest(self, like: TrainState) -> tuple[TrainState, Position] | None:
        """Reads the latest complete checkpoint, and removes all later ones.

        Args:
          like: A state with the expected shapes, dtypes and shardings.

        Returns:
          The state and the position; None if there is no checkpoint.

        Raises:
          InputError: There are checkpoints, but none can be used.
        """
        restored = self._latest.restore(_items(like))
        for series in (self._latest, self._best):
            series.drop_after(-1 if restored is None else restored.step)
        if restored is None:
            return None
        try:
            carry = restored.items["carry"]["all"] if "carry" in restored.items else ()
            state = TrainState(**restored.items["state"], carry=carry)
            return state, Position.from_json(restored.about)
        except (KeyError, TypeError, AttributeError) as error:  # the checksums are right, so another program wrote it
            folder = self._latest.folder / str(restored.step)
            raise InputError(f"{folder}: says no position that is known; train in a new run_dir") from error

    def restore_best(self, like: Parameters) -> tuple[Parameters, int]:
        """Reads the best parameters and their step.

        Args:
          like: Parameters with the expected shapes, dtypes and shardings.

        Raises:
          InputError: No parameters were saved, or none can be used.
        """
        restored = self._best.restore({"parameters": like})
        if restored is None:
            raise InputError(f"{self._best.folder}: holds no checkpoint yet; train for at least one epoch")
        return restored.items["parameters"], restored.step

    def wait(self) -> None:
        """Waits until everything is on the disk."""
        self._best.wait()
        self._latest.wait()

    def close(self) -> None:
        """Waits until everything is on the disk, and ends the background threads."""
        try:
            self._best.close()
        finally:
            self._latest.close()


def _items(state: TrainState) -> dict[str, Any]:
    """Returns the pytrees to save.

    The carry is left out where it is empty, and is put into a dictionary otherwise: orbax takes neither an empty tree
    nor a single array.
    """
    items = state._asdict()
    carry = items.pop("carry")
    return {"state": items} | ({"carry": {"all": carry}} if jax.tree.leaves(carry) else {})
