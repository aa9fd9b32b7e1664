"""The folder of a run: its files, each written whole or not at all."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrnn.errors import InputError
from jaxrnn.files import replacing


class RunFolder:
    """Names the files of a run, and reads and writes them.

    `config.toml` (resolved), `labels.json`, `vocabulary.txt`, `checkpoints/`, `metrics.jsonl` (one object a line),
    `curves.png`, `result.json`. It is all that evaluating and predicting need.
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

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Makes the folder, or takes one that is empty or holds a run.

        Raises:
          InputError: it cannot be made or written, or holds something else.
        """
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.touch()
            probe.unlink()
            names = {child.name for child in path.iterdir() if not child.name.startswith(".")}
        except OSError as error:
            raise InputError(f"run_dir {path}: cannot be written ({error.strerror}); choose another run_dir") from error
        if names and folder.config.name not in names:
            raise InputError(f"run_dir {path}: holds other files and no config.toml; choose another run_dir")
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run, for reading.

        Raises:
          InputError: it is not the folder of a run.
        """
        folder = cls(path)
        for file in (folder.config, folder.vocabulary, folder.labels, folder.checkpoints):
            if not file.exists():
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
        """The names of the classes, in the order of their numbers; InputError if the file holds something else."""
        try:
            labels = json.loads(self.labels.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self.labels}: expected a JSON list of names: {error}") from error
        if not (isinstance(labels, list) and len(labels) > 1 and all(isinstance(label, str) for label in labels)):
            raise InputError(f"{self.labels}: expected a JSON list of two names or more")
        return tuple(labels)

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl. A last line that a kill cut short is left out."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def rewind_metrics(self, step: int) -> None:
        """Drops what metrics.jsonl says of later steps: the resumed run will say it again."""
        kept: Sequence[dict[str, Any]] = [record for record in self.read_metrics() if record["step"] <= step]
        self.write_text(self.metrics, "".join(json.dumps(record) + "\n" for record in kept))
