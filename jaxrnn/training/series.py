"""A series of checkpoints in one folder, one for each saved step, written and read by orbax.

A checkpoint is a folder named by its step. orbax writes it under a temporary name and renames it when it is complete.
Then its checksums are written (`checksums.json`); only a checkpoint that has them is used.
"""

import errno
import logging
import os
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from jaxrnn.errors import InputError
from jaxrnn.files import to_disk
from jaxrnn.training.checksums import DamagedError, UnfinishedError, seal, verify

logger = logging.getLogger("jaxrnn")

# orbax logs every file that it writes, and every error that it also raises.
logging.getLogger("absl").setLevel(logging.CRITICAL)

FORMAT = 3  # of a checkpoint; one with another number is refused

UNFINISHED = "*.orbax-checkpoint-tmp*"  # how orbax names a checkpoint until it is complete


class Restored(NamedTuple):
    """A checkpoint that was read.

    Attributes:
      step: The step after which it was saved.
      items: Pytrees of arrays, by name.
      about: The JSON object that was saved with them.
    """

    step: int
    items: dict[str, Any]
    about: dict[str, Any]


class Series:
    """The newest checkpoints of one kind.

    Args:
      folder: The folder of the checkpoints.
      num_kept: The number of checkpoints to keep; the oldest is removed when a new one is complete.
      read_only: Whether checkpoints are only read. If so, not even the folder is created.
      on_disk_first: A file that is forced to the disk before the checksums of a checkpoint are written. None: there is
        no such file.
    """

    def __init__(self, folder: Path, *, num_kept: int, read_only: bool, on_disk_first: Path | None = None):
        self.folder = folder.resolve()
        self._on_disk_first = on_disk_first
        self._num_kept = num_kept
        self._writing = folder  # the folder of the latest save
        self._sealing: Future[None] | None = None
        self._background = ThreadPoolExecutor(1)
        if not read_only:
            self._remove_unfinished()  # a process that is killed while saving leaves one behind
        options = ocp.CheckpointManagerOptions(read_only=read_only)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, items: dict[str, Any], about: dict[str, Any]) -> None:
        """Saves pytrees of arrays and a JSON object in the background, unless the step has already been saved.

        Args:
          step: The step.
          items: Pytrees of arrays, by name.
          about: A JSON object.

        Raises:
          InputError: This save or the one before it failed.
        """
        self.wait()
        if step in self._manager.all_steps():
            return
        self._writing = self.folder / str(step)
        arrays = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(**arrays, about=ocp.args.JsonSave({"format": FORMAT, **about})),
                force=True,
            )
        except Exception as error:
            raise self._failed(error) from error
        self._sealing = self._background.submit(self._seal)

    def wait(self) -> None:
        """Waits until everything is on the disk.

        Raises:
          InputError: The save failed.
        """
        sealing, self._sealing = self._sealing, None
        try:
            if sealing:
                sealing.result()
        except Exception as error:  # what a full disk raises depends on which file was being written
            raise self._failed(error) from error

    def close(self) -> None:
        """Waits until everything is on the disk, and ends the background threads."""
        try:
            self.wait()
        finally:
            self._background.shutdown()
            with suppress(Exception):  # the failure of a save, which `wait` has raised already
                self._manager.close()

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints of later steps."""
        for later_step in [saved_step for saved_step in self._manager.all_steps() if saved_step > step]:
            self._manager.delete(later_step)

    def restore(self, like: dict[str, Any]) -> Restored | None:
        """Reads the newest undamaged checkpoint, with a warning for each damaged one that is newer.

        Args:
          like: Pytrees with the expected shapes, dtypes and shardings, by name.

        Returns:
          The checkpoint; None if there is none.

        Raises:
          InputError: All checkpoints are damaged, or the newest other one has another format or other shapes.
        """
        damaged: dict[Path, DamagedError] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            folder = self.folder / str(step)
            try:
                restored = self._read(step, like)
            except DamagedError as error:
                damaged[folder] = error
                continue
            for damaged_folder, reason in damaged.items():
                logger.warning("%s: the checkpoint is damaged (%s); using %s instead", damaged_folder, reason, folder)
            return restored
        if all(isinstance(error, UnfinishedError) for error in damaged.values()):
            return None  # there is none, or only a first save that was interrupted
        reasons = "; ".join(f"{folder}: the checkpoint is damaged ({error})" for folder, error in damaged.items())
        raise InputError(f"{reasons}; no other is left: train in a new run_dir")

    def _read(self, step: int, like: dict[str, Any]) -> Restored:
        folder = self.folder / str(step)
        verify(folder)
        try:
            json_only = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))
            about = dict(json_only["about"])
            file_format = about.pop("format", None)
            if file_format != FORMAT:
                raise InputError(
                    f"{folder}: was written by another release of jaxrnn (format {file_format}, this one reads "
                    f"{FORMAT}); use that release, or train in a new run_dir"
                )
            for name, tree in like.items():
                _check_shapes(self._manager.directory / str(step) / name, tree)
            arrays = {
                name: ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, tree))
                for name, tree in like.items()
            }
            restored = self._manager.restore(step, args=ocp.args.Composite(**arrays))
        except InputError:
            raise
        except Exception as error:  # which error orbax raises depends on the fault and on its version
            raise InputError(f"{folder}: the checkpoint cannot be read ({_reason(error)})") from error
        return Restored(step, {name: restored[name] for name in like}, about)

    def _seal(self) -> None:
        self._manager.wait_until_finished()
        if jax.process_index() == 0:
            if self._on_disk_first and self._on_disk_first.exists():
                to_disk(self._on_disk_first)
            seal(self._writing)
        for old in sorted(self._manager.all_steps())[: -self._num_kept]:
            self._manager.delete(old)

    def _remove_unfinished(self) -> None:
        """Removes what unfinished saves have left.

        After a failure orbax's threads may go on writing for a moment into the folder that is being removed.
        """
        if jax.process_index() != 0:
            return
        for _ in range(50):
            for unfinished in self.folder.glob(UNFINISHED):
                shutil.rmtree(unfinished, ignore_errors=True)
            if not any(self.folder.glob(UNFINISHED)):
                return
            time.sleep(0.1)

    def _failed(self, error: Exception) -> InputError:
        self._remove_unfinished()
        return InputError(
            f"{self._writing}: the checkpoint could not be saved ({_reason(error)}); the earlier ones are whole, "
            "and the same command goes on from them"
        )


def _check_shapes(folder: Any, like: Any) -> None:
    """Raises InputError if a saved pytree of arrays has other names or shapes than expected."""
    metadata = ocp.StandardCheckpointHandler().metadata(folder)
    saved = {leaf.name: tuple(leaf.shape) for leaf in jax.tree.leaves(metadata.tree)}
    leaves, _ = jax.tree.flatten_with_path(like)
    expected = {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}
    for name in sorted(saved | expected):
        if saved.get(name) != expected.get(name):
            raise InputError(
                f"{folder}: {name} has shape {saved.get(name)}, and the config or this release of jaxrnn needs "
                f"{expected.get(name)}; train in a new run_dir"
            )


def _reason(error: Exception) -> str:
    """Returns the operating system's error if the libraries' long message has one, otherwise its first line."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
        if os.strerror(number) in str(error):
            return os.strerror(number)
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
