"""A series of checkpoints in a folder, one for each step that was saved: orbax writes and reads them.

A checkpoint is a folder named by its step. orbax writes it beside the others and renames it when it is whole; then its
checksums are written (`checksums.json`), and only with them does it count. Format 1 had none.
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
from jaxrnn.training.checksums import CHECKSUMS, DamagedError, UnfinishedError, seal, verify

logger = logging.getLogger("jaxrnn")

# orbax tells of every file it writes, and of every error that it also raises.
logging.getLogger("absl").setLevel(logging.CRITICAL)

FORMAT = 2

UNFINISHED = "*.orbax-checkpoint-tmp*"  # what orbax calls a checkpoint until it is whole


class Restored(NamedTuple):
    """A checkpoint that was read."""

    step: int
    items: dict[str, Any]  # trees of arrays, by name
    about: dict[str, Any]


class Series:
    """The newest checkpoints of one kind.

    Args:
      folder: where they are.
      num_kept: how many; an older one goes when a new one is whole.
      read_only: nothing will be saved, and nothing is created.
      on_disk_first: a file that must be on the disk before a checkpoint counts.
    """

    def __init__(self, folder: Path, *, num_kept: int, read_only: bool, on_disk_first: Path | None = None):
        self.folder = folder.resolve()
        self._on_disk_first = on_disk_first
        self._num_kept = num_kept
        self._writing = folder  # of the latest save
        self._sealing: Future[None] | None = None
        self._background = ThreadPoolExecutor(1)
        if not read_only:
            self._remove_unfinished()  # which a kill in the middle of a save leaves
        options = ocp.CheckpointManagerOptions(read_only=read_only)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, items: dict[str, Any], about: dict[str, Any]) -> None:
        """Saves trees of arrays and a JSON object in the background, unless the step is there.

        Raises:
          InputError: this save, or the one before it, failed.
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
        """Waits until everything is written; raises InputError if that failed."""
        sealing, self._sealing = self._sealing, None
        try:
            if sealing:
                sealing.result()
        except Exception as error:  # what a full disk raises depends on which file was being written
            raise self._failed(error) from error

    def close(self) -> None:
        """Waits, and ends the threads."""
        try:
            self.wait()
        finally:
            self._background.shutdown()
            with suppress(Exception):  # the failure of a save, once more
                self._manager.close()

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints of later steps."""
        for later in [each for each in self._manager.all_steps() if each > step]:
            self._manager.delete(later)

    def restore(self, like: dict[str, Any]) -> Restored | None:
        """The newest checkpoint that is whole, with a warning if others had to be passed over; None if there is none.

        Args:
          like: trees with the shapes, dtypes and shardings that are expected.

        Raises:
          InputError: all are damaged, or one is of another format or does not fit.
        """
        passed_over: dict[Path, DamagedError] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            folder = self.folder / str(step)
            try:
                restored = self._read(step, like)
            except DamagedError as error:
                passed_over[folder] = error
                continue
            for other, reason in passed_over.items():
                logger.warning("%s: the checkpoint is damaged (%s); using %s instead", other, reason, folder)
            return restored
        if all(isinstance(error, UnfinishedError) for error in passed_over.values()):
            return None  # the very first save was cut short
        reasons = "; ".join(f"{folder}: the checkpoint is damaged ({error})" for folder, error in passed_over.items())
        raise InputError(f"{reasons}; no other is left: train in a new run_dir")

    def _read(self, step: int, like: dict[str, Any]) -> Restored:
        folder = self.folder / str(step)
        is_format_1 = not (folder / CHECKSUMS).exists() and not (folder / "about").exists()
        if not is_format_1:
            verify(folder)
        try:
            about = self._about(step, "position" if is_format_1 else "about")
            if about.pop("format", 1) > FORMAT:
                raise InputError(f"{folder}: was written by a newer jaxrnn; update this one, or train in a new run_dir")
            for name, tree in like.items():
                _check_shapes(self._manager.directory / str(step) / name, tree)
            arrays = {
                name: ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, tree))
                for name, tree in like.items()
            }
            restored = self._manager.restore(step, args=ocp.args.Composite(**arrays))
        except InputError:
            raise
        except Exception as error:  # what orbax raises depends on what is wrong, and on its release
            reason = _reason(error)
            if is_format_1:
                raise DamagedError(reason) from error
            raise InputError(f"{folder}: the checkpoint cannot be read ({reason})") from error
        return Restored(step, {name: restored[name] for name in like}, about)

    def _about(self, step: int, item: str) -> dict[str, Any]:
        if not (self.folder / str(step) / item).exists():  # the best of format 1
            return {}
        return dict(self._manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.JsonRestore()}))[item])

    def _seal(self) -> None:
        self._manager.wait_until_finished()
        if jax.process_index() == 0:
            if self._on_disk_first and self._on_disk_first.exists():
                to_disk(self._on_disk_first)
            seal(self._writing)
        for old in sorted(self._manager.all_steps())[: -self._num_kept]:
            self._manager.delete(old)

    def _remove_unfinished(self) -> None:
        """Removes what saves that did not come to their end have left.

        After a failure orbax's threads may write for a moment more, into the folder that is being removed.
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
    """Raises InputError if a tree of arrays has other names or shapes than expected."""
    metadata = ocp.StandardCheckpointHandler().metadata(folder)
    found = {leaf.name: tuple(leaf.shape) for leaf in jax.tree.leaves(metadata.tree)}
    leaves, _ = jax.tree.flatten_with_path(like)
    expected = {jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves}
    for name in sorted(found | expected):
        if found.get(name) != expected.get(name):
            raise InputError(
                f"{folder}: {name} has shape {found.get(name)}, and the config or this release of jaxrnn needs "
                f"{expected.get(name)}; train in a new run_dir"
            )


def _reason(error: Exception) -> str:
    """What the system said, if it is among the long texts of the libraries, else their first line."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
        if os.strerror(number) in str(error):
            return os.strerror(number)
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
