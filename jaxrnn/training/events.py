"""The lines of metrics.jsonl as events for TensorBoard."""

import time
from pathlib import Path
from typing import Any

from jaxrnn.errors import InputError


class Events:
    """Writes event files into a folder.

    Args:
      folder: where to.
      step: of the run so far; TensorBoard forgets what an earlier start told of later ones.

    Raises:
      InputError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, *, step: int):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise InputError(
                "train.tensorboard: expected the package tensorboardX; pip install 'jaxrnn[tensorboard]'"
            ) from None
        # A file's own name is that of the second: two starts in one would share it, and the first's events be lost.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1, filename_suffix=f".{time.time_ns()}")

    def write(self, record: dict[str, Any]) -> None:
        """Writes the numbers of a line under `split/name`."""
        for name, value in record.items():
            if name not in ("step", "split"):
                self._writer.add_scalar(f"{record['split']}/{name}", value, record["step"])
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()
