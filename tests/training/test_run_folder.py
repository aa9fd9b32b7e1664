import json
import os

import pytest

from jaxrnn.errors import InputError
from jaxrnn.training import RunFolder
from jaxrnn.training.run_folder import FORMAT


def test_create_takes_new_empty_and_run_folders(tmp_path):
    with RunFolder.create(tmp_path / "a" / "run") as folder:
        folder.describe({})  # the first file of a run: a kill may come before the others
    with RunFolder.create(tmp_path / "a" / "run") as folder:
        folder.config.write_text("seed = 1\n")
    with RunFolder.create(tmp_path / "a" / "run") as folder:
        assert folder.config.read_text() == "seed = 1\n"
    assert visible(folder.path) == ["config.toml", "run.json"]


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def create(path):
    with RunFolder.create(path):
        pass


def test_create_refuses_other_folders(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files and no run"):
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


@pytest.mark.parametrize("line", ["{", "[]", '{"step": 1}', '{"step": "1", "split": ""}', "\xff"])
def test_damaged_metrics_are_named(tmp_path, line):
    folder = RunFolder(tmp_path)
    folder.metrics.write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 1 is damaged"):
        folder.rewind_metrics(3)


def test_open_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"has no config\.toml"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(InputError, match="has no checkpoints"):
        RunFolder.open(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match=r"no run\.json"):
        RunFolder.open(tmp_path)
    RunFolder(tmp_path).describe({"train": "a"})
    assert RunFolder.open(tmp_path).read_description() == {"train": "a"}


@pytest.mark.parametrize("number", [1, FORMAT - 1, FORMAT + 1, "3", None])
def test_a_folder_of_another_format_is_refused(tmp_path, number):
    folder = RunFolder(tmp_path)
    folder.describe({})
    folder.write_json(folder.description, json.loads(folder.description.read_text()) | {"format": number})
    with pytest.raises(InputError, match=rf"another release .*format {number}, .* {FORMAT}\b"):
        folder.read_description()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"format": 3}', '{"format": 3, "fingerprints": 1}', "[" * 9999]
)
def test_a_damaged_description_is_named(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.description.write_text(content)
    with pytest.raises(InputError, match=r"run\.json: is damaged"):
        folder.read_description()


def test_a_folder_of_several_seeds_names_them(tmp_path):
    folder = RunFolder(tmp_path)
    folder.config.touch()
    folder.describe({})
    for seed in (5, 12):
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}" / "config.toml").touch()
    with pytest.raises(InputError, match=r"several seeds.*/seed-5\b"):
        RunFolder.open(tmp_path)


def test_metrics_are_rewound_to_a_step(tmp_path):
    folder = RunFolder(tmp_path)
    records = [{"step": step, "split": "train", "loss": step / 7} for step in (50, 100, 150)]
    for record in records:
        folder.append_metrics(record)
    with folder.metrics.open("a") as file:
        file.write('{"step": 200, "lo')  # a kill in the middle of a line
    folder.rewind_metrics(100)
    assert folder.read_metrics() == records[:2]
    assert folder.metrics.read_text().endswith("\n")


RESULT = {
    "test_loss": 0.5, "best_step": 3, "num_parameters": 7, "seconds_training": 1.5, "device": "cpu", "num_devices": 1,
    "python": "3.11", "packages": {},
}  # fmt: skip


def test_the_result_of_any_task_is_read_whatever_its_metrics(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_result() is None
    for metrics in ({}, {"test_accuracy": 0.9}, {"test_perplexity": 80.0, "test_words": 70}):
        folder.write_json(folder.result, RESULT | metrics)
        assert folder.read_result() == RESULT | metrics


@pytest.mark.parametrize("content", ["{", "[]", '{"test_loss": 1}', json.dumps(RESULT | {"best_step": "3"})])
def test_another_result_is_refused(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.result.write_text(content)
    with pytest.raises(InputError, match=r"result\.json: .*result of a run"):
        folder.read_result()


def test_json_is_written_whole_or_not_at_all(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_json(folder.result, {"a": "ü"})
    with pytest.raises(TypeError):
        folder.write_json(folder.result, {"a": object()})
    assert json.loads(folder.result.read_text()) == {"a": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
