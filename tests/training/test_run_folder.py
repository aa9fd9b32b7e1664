import json

import pytest

from jaxrnn.errors import InputError
from jaxrnn.training import RunFolder


def test_create_takes_new_empty_and_run_folders(tmp_path):
    folder = RunFolder.create(tmp_path / "a" / "run")
    folder.config.write_text("seed = 1\n")
    assert RunFolder.create(tmp_path / "a" / "run").config.read_text() == "seed = 1\n"
    assert [path.name for path in folder.path.iterdir()] == ["config.toml"]


def test_create_refuses_other_folders(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files and no config\.toml"):
        RunFolder.create(tmp_path)
    with pytest.raises(InputError, match=r"run_dir .*notes\.txt: cannot be written"):
        RunFolder.create(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="cannot be written"):
        RunFolder.create(tmp_path / "notes.txt" / "run")


def test_open_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder of a run, but it has no config\.toml"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.toml").touch()
    with pytest.raises(InputError, match=r"has no vocabulary\.txt"):
        RunFolder.open(tmp_path)


def test_metrics_are_rewound_to_a_step(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (50, 100, 150):
        folder.append_metrics({"step": step, "loss": step / 7})
    with folder.metrics.open("a") as file:
        file.write('{"step": 200, "lo')  # a kill in the middle of a line
    folder.rewind_metrics(100)
    assert folder.read_metrics() == [{"step": 50, "loss": 50 / 7}, {"step": 100, "loss": 100 / 7}]
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
