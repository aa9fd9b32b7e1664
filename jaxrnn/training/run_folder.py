"""The folder of a run: its files, each written completely or not at all, by one process at a time."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from jaxrnn.errors import InputError
from jaxrnn.files import replacing

FORMAT = 3  # of a run folder; one with another number is refused
METRICS = {"step": int, "split": str}  # the keys and types that every line of metrics.jsonl has
RESULT = {
    "test_loss": int | float, "best_step": int, "num_parameters": int, "seconds_training": int | float, "device": str,
    "num_devices": int, "python": str, "packages": dict,
}  # the keys and types of result.json that are used  # fmt: skip


class RunFolder:
    """Names the files of a run, and reads and writes them.

    The folder holds `config.toml` (all settings), `run.json` (the format of the folder and fingerprints of the
    examples), the application's assets such as `vocabulary.txt`, `checkpoints/`, `metrics.jsonl` (one JSON object per
    line), `curves.png` and `result.json`. Evaluation and prediction need nothing else. `report.html` is written by
    `jaxrnn.report`.

    Args:
      path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.toml"
        self.description = path / "run.json"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.curves = path / "curves.png"
        self.result = path / "result.json"
        self.report = path / "report.html"

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator["RunFolder"]:
        """Creates the folder, or opens one that is empty or holds a run. While entered, no other process trains in it.

        Raises:
          InputError: The folder cannot be created or written to, is in use, or holds something else.
        """
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = next((child for child in path.rglob("*") if child.is_symlink() or not _is_plain(child)), None)
            if foreign:
                raise InputError(
                    f"run_dir {path}: {foreign.relative_to(path)} is a link or no plain file, and a run writes only "
                    "to its own folder; remove it, or choose another run_dir"
                )
            lock = (path / ".lock").open("a+")
            names = {child.name for child in path.iterdir() if not child.name.startswith(".")}
        except OSError as error:
            raise InputError(f"run_dir {path}: cannot be written ({error.strerror}); choose another run_dir") from error
        with lock:
            _lock(lock, path)
            # run.json is written first, so a folder without it (and without config.toml) holds something else.
            if names and not names & {folder.description.name, folder.config.name}:
                raise InputError(f"run_dir {path}: holds other files and no run; choose another run_dir")
            yield folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Opens an existing run for reading.

        Raises:
          InputError: The folder is not that of a run, or of several, or was written by another release.
        """
        folder = cls(path)
        seeds = sorted(path.glob("seed-*/config.toml"), key=lambda file: (len(file.parent.name), file.parent.name))
        if seeds and not folder.checkpoints.exists():
            raise InputError(f"{path}: holds the runs of several seeds; take one of them, such as {seeds[0].parent}")
        for file in (folder.config, folder.checkpoints):
            if not (file.is_dir() if file == folder.checkpoints else file.is_file()):
                raise InputError(f"{path}: expected the folder of a run, but it has no {file.name}")
        folder.read_description()
        return folder

    def describe(self, fingerprints: Mapping[str, str]) -> None:
        """Writes run.json, which holds a fingerprint of the examples of each split."""
        self.write_json(self.description, {"format": FORMAT, "fingerprints": dict(fingerprints)})

    def read_description(self) -> dict[str, str]:
        """Reads the fingerprint of the examples of each split from run.json.

        Raises:
          InputError: The folder was written by another release, or run.json is damaged.
        """
        if not self.description.exists():
            raise InputError(
                f"{self.path}: has no {self.description.name}; it may be a run of jaxrnn 0.1, which this release "
                "cannot read; train in a new run_dir"
            )
        try:
            description = json.loads(self.description.read_text(encoding="utf-8"))
            file_format, fingerprints = description["format"], dict(description["fingerprints"])
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise InputError(f"{self.description}: is damaged; train in a new run_dir") from error
        if file_format != FORMAT:
            raise InputError(
                f"{self.path}: was written by another release of jaxrnn (format {file_format}, this one reads "
                f"{FORMAT}); use that release, or train in a new run_dir"
            )
        return fingerprints

    def write_json(self, file: Path, value: Any) -> None:
        """Writes a value as indented JSON."""
        self.write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_text(self, file: Path, text: str) -> None:
        """Writes a text file, completely or not at all."""
        with replacing(file) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def read_result(self) -> dict[str, Any] | None:
        """Reads result.json.

        Returns:
          The result; None while the run is not complete.

        Raises:
          InputError: The file does not hold the result of a run.
        """
        if not self.result.exists():
            return None
        try:
            result = json.loads(self.result.read_text(encoding="utf-8"))
            if not all(isinstance(result[key], kind) for key, kind in RESULT.items()):
                raise ValueError
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise InputError(f"{self.result}: expected the result of a run; correct or remove the file") from error
        return result

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise InputError(f"{self.metrics}: cannot be written ({error.strerror})") from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """Reads the lines of metrics.jsonl, without a last line that is incomplete because the process was killed."""
        return [record for _, record in self._metrics()]

    def rewind_metrics(self, step: int) -> None:
        """Removes the lines of later steps from metrics.jsonl, because the resumed run will write them again."""
        self.write_text(
            self.metrics, "".join(f"{line}\n" for line, record in self._metrics() if record["step"] <= step)
        )

    def _metrics(self) -> list[tuple[str, dict[str, Any]]]:
        """Returns each line of metrics.jsonl and the object in it."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_bytes().split(b"\n")[:-1]
        parsed = []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                if not all(isinstance(record[key], kind) for key, kind in METRICS.items()):
                    raise ValueError
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise InputError(f"{self.metrics}: line {number} is damaged; correct or remove the line") from error
            parsed.append((line.decode(), record))
        return parsed


def _is_plain(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _lock(lock: TextIO, path: Path) -> None:
    """Locks the file. The kernel releases the lock when the process ends, even if it is killed."""
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
