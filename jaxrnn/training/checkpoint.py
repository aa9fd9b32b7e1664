"""Checkpoints of a run, by orbax: the latest two for resuming, the best one for evaluation. No pickle is involved."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from jaxrnn.errors import InputError
from jaxrnn.training.step import Parameters, Totals, TrainState

# orbax tells of every file it writes; what users need to know of a checkpoint, the loop says.
logging.getLogger("absl").setLevel(logging.ERROR)


class Position(NamedTuple):
    """Where a run stands, apart from its arrays: all numbers of Python."""

    epoch: int = 0  # the number of the current epoch, from 0
    batch: int = 0  # batches of it that are done
    totals: Totals = Totals()  # of the epoch so far
    window: Totals = Totals()  # since the last line of metrics.jsonl
    best_loss: float | None = None  # lowest validation loss so far
    best_step: int = 0
    epochs_without_best: int = 0  # since then
    seconds: float = 0.0  # spent training and validating so far, over all starts

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Position":
        """From what JSON makes of `_asdict()`, where the sums have become lists."""
        fields: dict[str, Any] = values | {name: Totals(*values[name]) for name in ("totals", "window")}
        return cls(**fields)


class Checkpoints:
    """The checkpoints in a folder: `latest/` to resume from, `best/` to evaluate.

    A save is written beside the others and renamed when it is whole, so a kill leaves earlier ones intact.

    Args:
      folder: where they are.
      read_only: nothing will be saved, and nothing is created.
    """

    def __init__(self, folder: Path, *, read_only: bool = False):
        def manager(name: str, num_kept: int) -> ocp.CheckpointManager:
            if read_only:
                options = ocp.CheckpointManagerOptions(read_only=True)
            else:  # what a kill in the middle of a save left is cleaned up
                options = ocp.CheckpointManagerOptions(max_to_keep=num_kept, cleanup_tmp_directories=True)
            return ocp.CheckpointManager(folder.resolve() / name, options=options)

        self._latest = manager("latest", 2)
        self._best = manager("best", 1)

    def save_latest(self, state: TrainState, position: Position) -> None:
        """Saves everything that a resumed run needs; the files are written in the background."""
        step = int(state.step)
        if self._latest.latest_step() != step:
            items = {"state": ocp.args.StandardSave(state), "position": ocp.args.JsonSave(position._asdict())}
            self._latest.save(step, args=ocp.args.Composite(**items))

    def save_best(self, step: int, parameters: Parameters) -> None:
        """Saves the parameters with the best validation loss so far."""
        self._best.save(step, args=ocp.args.Composite(parameters=ocp.args.StandardSave(parameters)))

    def restore_latest(self, like: TrainState) -> tuple[TrainState, Position] | None:
        """The state and position of the latest checkpoint, or None if there is none.

        Args:
          like: a state with the shapes and dtypes that are expected.
        """
        step = self._latest.latest_step()
        if step is None:
            return None
        restored = _restore(
            self._latest, step, state=ocp.args.StandardRestore(_abstract(like)), position=ocp.args.JsonRestore()
        )
        return TrainState(*restored["state"]), Position.from_json(restored["position"])

    def restore_best(self, like: Parameters) -> tuple[Parameters, int]:
        """The best parameters and their step; raises InputError if none were saved."""
        step = self._best.latest_step()
        if step is None:
            raise InputError(f"{self._best.directory}: holds no checkpoint yet; train for at least one epoch")
        restored = _restore(self._best, step, parameters=ocp.args.StandardRestore(_abstract(like)))
        return restored["parameters"], step

    def close(self) -> None:
        """Waits until everything is written."""
        self._latest.close()
        self._best.close()


def _restore(manager: ocp.CheckpointManager, step: int, **items: Any) -> Any:
    try:
        return manager.restore(step, args=ocp.args.Composite(**items))
    except Exception as error:  # what a damaged file raises depends on which one, and on orbax's release
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{manager.directory / str(step)}: the checkpoint cannot be read ({reason[:200]})") from error


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
