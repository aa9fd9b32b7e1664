import json
import os

import pytest

from jaxrnn.errors import InputError
from jaxrnn.training import RunFolder


def test_create_takes_new_empty_and_run_folders(tmp_path):
    with RunFolder.create(tmp_path / "a" / "run") as folder:
        folder.labels.write_text("[]")  # the first file of a run: a kill may come before the others
    with RunFolder.create(tmp_path / "a" / "run") as folder:
        folder.config.write_text("seed = 1\n")
    with RunFolder.create(tmp_path / "a" / "run") as folder:
        assert folder.config.read_text() == "seed = 1\n"
    assert visible(folder.path) == ["config.toml", "labels.json"]


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def create(path):
    with RunFolder.create(path):
        pass


def test_create_refuses_other_folders(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files and no config\.toml"):
        create(tmp_path)
    with pytest.raises(InputError, match=r"run_dir .*notes\.txt: cannot be written"):
        create(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="cannot be written"):
        create(tmp_path / "notes.txt" / "run")


def test_a_folder_in_use_is_refused(tmp_path):
    with RunFolder.create(tmp_path / "run"), pytest.raises(InputError, match=rf"is in use by process {os.getpid()};"):
        create(tmp_path / "run")
    create(tmp_path / "run")


@pytest.mark.parametrize("name", ["metrics.jsonl", ".result.json.tmp", ".lock", "checkpoints/latest"])
def test_nothing_is_written_through_links(tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(InputError, match=rf"{name} is a link or no plain file"):
        create(tmp_path / "run")
    link.unlink()
    os.mkfifo(link)  # opening one would wait for ever
    with pytest.raises(InputError, match=rf"{name} is a link or no plain file"):
        create(tmp_path / "run")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"step": 1}', '{"step": "1", "split": "", "loss": 0, "accuracy": 0}', "\xff"]
)
def test_damaged_metrics_are_named(tmp_path, line):
    folder = RunFolder(tmp_path)
    folder.metrics.write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 1 is damaged"):
        folder.rewind_metrics(3)


def test_open_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder of a run, but it has no config\.toml"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(InputError, match=r"has no vocabulary\.txt"):
        RunFolder.open(tmp_path)


def test_metrics_are_rewound_to_a_step(tmp_path):
    folder = RunFolder(tmp_path)
    records = [{"step": step, "split": "train", "loss": step / 7, "accuracy": 0.5} for step in (50, 100, 150)]
    for record in records:
        folder.append_metrics(record)
    with folder.metrics.open("a") as file:
        file.write('{"step": 200, "lo')  # a kill in the middle of a line
    folder.rewind_metrics(100)
    assert folder.read_metrics() == records[:2]
    assert folder.metrics.read_text().endswith("\n")


@pytest.mark.parametrize("content", ["{", '"a"', "[]", '["one"]', "[1, 2]", '{"a": 1}'])
def test_labels_must_be_names(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.labels.write_text(content)
    with pytest.raises(InputError, match=r"labels.json: expected a JSON list"):
        folder.read_labels()


def test_json_is_written_whole_or_not_at_all(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_json(folder.result, {"a": "ü"})
    with pytest.raises(TypeError):
        folder.write_json(folder.result, {"a": object()})
    assert json.loads(folder.result.read_text()) == {"a": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
