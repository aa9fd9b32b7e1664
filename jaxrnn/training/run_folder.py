"""The folder of a run: its files, each written whole or not at all, by one process at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from jaxrnn.errors import InputError
from jaxrnn.files import replacing

METRICS = {"step": int, "split": str, "loss": int | float}  # in every line
RESULT = {
    "test_loss": int | float, "test_accuracy": int | float, "test_examples": int, "num_parameters": int,
    "seconds_training": int | float, "device": str, "num_devices": int, "python": str, "packages": dict,
}  # what is read of result.json  # fmt: skip


class RunFolder:
    """Names the files of a run, and reads and writes them.

    `config.toml` (resolved), `labels.json` (of a classifier), `vocabulary.txt`, `checkpoints/`, `metrics.jsonl` (one
    object a line), `curves.png`, `result.json`. It is all that evaluating and predicting need. `report.html` is made
    when asked for.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.toml"
        self.labels = path / "labels.json"
        self.vocabulary = path / "vocabulary.txt"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.curves = path / "curves.png"
        self.result = path / "result.json"
        self.report = path / "report.html"

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator["RunFolder"]:
        """Makes the folder, or takes one that is empty or holds a run; while entered, no other process trains in it.

        Raises:
          InputError: it cannot be made or written, is in use, or holds something else.
        """
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = next((each for each in path.rglob("*") if each.is_symlink() or not _is_plain(each)), None)
            if foreign:
                raise InputError(
                    f"run_dir {path}: {foreign.relative_to(path)} is a link or no plain file, and a run writes to its "
                    "own folder alone; remove it, or choose another run_dir"
                )
            lock = (path / ".lock").open("a+")
            names = {child.name for child in path.iterdir() if not child.name.startswith(".")}
        except OSError as error:
            raise InputError(f"run_dir {path}: cannot be written ({error.strerror}); choose another run_dir") from error
        with lock:
            _lock(lock, path)
            # config.toml is the last of the three that describe a run: a kill may have come before it.
            if folder.config.name not in names and not names <= {folder.labels.name, folder.vocabulary.name}:
                raise InputError(f"run_dir {path}: holds other files and no config.toml; choose another run_dir")
            yield folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run, for reading.

        Raises:
          InputError: it is not the folder of a run.
        """
        folder = cls(path)
        for file in (folder.config, folder.vocabulary, folder.checkpoints):
            if not (file.is_dir() if file == folder.checkpoints else file.is_file()):
                raise InputError(f"{path}: expected the folder of a run, but it has no {file.name}")
        return folder

    def write_json(self, file: Path, value: Any) -> None:
        """Writes a value as indented JSON."""
        self.write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_text(self, file: Path, text: str) -> None:
        """Writes a text, whole or not at all."""
        with replacing(file) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def read_labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers; none without the file, as for a language model.

        Raises:
          InputError: the file holds something else.
        """
        if not self.labels.exists():
            return ()
        try:
            labels = json.loads(self.labels.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self.labels}: expected a JSON list of names: {error}") from error
        if not (isinstance(labels, list) and len(labels) > 1 and all(isinstance(label, str) for label in labels)):
            raise InputError(f"{self.labels}: expected a JSON list of two names or more")
        return tuple(labels)

    def read_result(self) -> dict[str, Any] | None:
        """What result.json holds, None while the run is not complete; InputError if it holds something else."""
        if not self.result.exists():
            return None
        try:
            result = json.loads(self.result.read_text(encoding="utf-8"))
            if not all(isinstance(result[key], kind) for key, kind in RESULT.items()):
                raise ValueError
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise InputError(f"{self.result}: expected the result of a run; mend it or take the file out") from error
        return result

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise InputError(f"{self.metrics}: cannot be written ({error.strerror})") from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl. A last line that a kill cut short is left out."""
        return [record for _, record in self._metrics()]

    def rewind_metrics(self, step: int) -> None:
        """Drops what metrics.jsonl says of later steps: the resumed run will say it again."""
        self.write_text(
            self.metrics, "".join(f"{line}\n" for line, record in self._metrics() if record["step"] <= step)
        )

    def _metrics(self) -> list[tuple[str, dict[str, Any]]]:
        """The lines and what they hold."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_bytes().split(b"\n")[:-1]
        found = []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                if not all(isinstance(record[key], kind) for key, kind in METRICS.items()):
                    raise ValueError
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise InputError(f"{self.metrics}: line {number} is damaged; mend it or take the line out") from error
            found.append((line.decode(), record))
        return found


def _is_plain(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _lock(lock: TextIO, path: Path) -> None:
    """Takes the lock, which the kernel frees when the process ends, however it does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise InputError(
            f"run_dir {path}: is in use by process {lock.read().strip()}; wait for it, or choose another run_dir"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
