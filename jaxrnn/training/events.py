"""Writes the lines of metrics.jsonl as events for TensorBoard."""

import time
from pathlib import Path
from typing import Any

from jaxrnn.errors import InputError


class Events:
    """Writes event files into a folder.

    Args:
      folder: The folder.
      step: The step from which the run goes on. TensorBoard discards what an earlier start wrote about later steps.

    Raises:
      InputError: The package tensorboardX is not installed.
    """

    def __init__(self, folder: Path, *, step: int):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise InputError(
                "train.tensorboard: expected the package tensorboardX; run: pip install 'jaxrnn[tensorboard]'"
            ) from None
        # tensorboardX names a file by the current second. Two starts within one second would share the name, and the
        # events of the first be lost.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1, filename_suffix=f".{time.time_ns()}")

    def write(self, record: dict[str, Any]) -> None:
        """Writes each number of a line of metrics.jsonl under the tag `split/name`."""
        for name, value in record.items():
            if name not in ("step", "split"):
                self._writer.add_scalar(f"{record['split']}/{name}", value, record["step"])
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
