"""Train, evaluate and predict as users run them, on a small data set of two classes that tell apart by their words."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from small_data import SMALL, assert_same_run, metrics_of, write_data

from jaxrnn import build, command_line, evaluate, predict, train
from jaxrnn.errors import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def arguments(data, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def arguments(run_dir, *more):
        return [f"data.source={data}", f"data.cache_dir={cache}", f"run_dir={run_dir}", *SMALL, *more]

    return arguments


@pytest.fixture(scope="module")
def run_dir(arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert train.main(arguments(path)) == 0
    return path


def test_training_learns_and_leaves_a_whole_run_folder(run_dir):
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(
        [
            ".lock",
            "config.toml",
            "labels.json",
            "vocabulary.txt",
            "checkpoints",
            "metrics.jsonl",
            "curves.png",
            "result.json",
        ]
    )
    result = json.loads((run_dir / "result.json").read_text())
    assert result["test_accuracy"] > 0.95
    assert result["test_examples"] == 60
    assert json.loads((run_dir / "labels.json").read_text()) == ["bad", "good"]
    assert (run_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
    records = metrics_of(run_dir)
    assert [record["epoch"] for record in records if record["split"] == "validation"] == [1, 2, 3]
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    best = min((record for record in records if record["split"] == "validation"), key=lambda record: record["loss"])
    assert (best["step"], best["loss"]) == (result["best_step"], result["validation_loss"])


def test_evaluate_repeats_the_result(run_dir, data, capsys):
    result = json.loads((run_dir / "result.json").read_text())
    for more in ([], ["--data", str(data)], ["--data", str(data / "test.jsonl")]):
        assert evaluate.main([str(run_dir), "--json", *more]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["accuracy"] == result["test_accuracy"]
        assert answer["loss"] == pytest.approx(result["test_loss"], rel=1e-6)
        assert (answer["split"], answer["num_examples"], answer["step"]) == ("test", 60, result["best_step"])
    assert evaluate.main([str(run_dir), "--split", "train"]) == 0
    assert capsys.readouterr().out.endswith("(120 examples)\n")


def test_predict_answers_in_order_also_for_odd_texts(run_dir, capsys):
    texts = ["dull cold dreary", "a lovely bright clever film", "", "zzz qqq", "grey\nand dull"]
    assert predict.main([str(run_dir), "--json", *texts]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["text"] for answer in answers] == texts
    assert [answer["label"] for answer in answers[:2]] == ["bad", "good"]
    assert answers[4]["label"] == "bad"
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["probability"] == max(answer["probabilities"].values())
    assert predict.main([str(run_dir), texts[1], texts[4]]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [("good", texts[1]), ("bad", "grey and dull")]


def test_predict_does_not_depend_on_the_company(run_dir, capsys):
    for texts in (["dull film"], ["dull film", "the " * 50, "lovely"]):
        predict.main([str(run_dir), "--json", *texts])
    first, second, *_ = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["text"] == second["text"]
    assert first["probability"] == pytest.approx(second["probability"], rel=1e-5)


def test_the_same_seed_gives_the_same_bits(run_dir, arguments, tmp_path):
    assert train.main(arguments(tmp_path / "again")) == 0
    assert_same_run(run_dir, tmp_path / "again")


def test_a_complete_run_is_left_alone(run_dir, arguments, capsys):
    before = (run_dir / "result.json").stat().st_mtime_ns
    assert train.main(arguments(run_dir)) == 0
    assert "this run is complete" in capsys.readouterr().out
    assert (run_dir / "result.json").stat().st_mtime_ns == before


def test_another_config_in_the_same_folder_is_refused(run_dir, arguments):
    with pytest.raises(InputError, match=r"holds a run with another config .*model.hidden.*9"):
        train.main(arguments(run_dir, "model.hidden=9"))


@pytest.mark.parametrize(
    "stop_at", [3, pytest.param(8, marks=pytest.mark.slow), 16, pytest.param(24, marks=pytest.mark.slow)]
)  # inside an epoch, and at the end of each (8 steps)
def test_a_stopped_run_goes_on_to_the_same_end(run_dir, arguments, tmp_path, monkeypatch, capsys, caplog, stop_at):
    make_train_step = train.make_train_step

    def stopping(*arguments, **options):
        step = make_train_step(*arguments, **options)

        def stop(state, batch):
            new_state, totals = step(state, batch)
            if int(new_state.step) == stop_at:
                signal.raise_signal(signal.SIGINT)
            return new_state, totals

        return stop

    with monkeypatch.context() as patch:
        patch.setattr(train, "make_train_step", stopping)
        assert train.main(arguments(tmp_path / "run")) == 130
    assert "stopped by SIGINT; everything is saved, and the same command goes on" in capsys.readouterr().out
    monkeypatch.setattr(train.build.logger, "propagate", True)
    with caplog.at_level("INFO", logger="jaxrnn"):
        assert train.main(arguments(tmp_path / "run")) == 0
    assert f"resuming at step {stop_at} of 24" in caplog.text
    assert_same_run(run_dir, tmp_path / "run")


def test_a_damaged_checkpoint_costs_steps_not_bits(run_dir, arguments, tmp_path, monkeypatch, caplog):
    path = tmp_path / "run"
    assert train.main(arguments(path)) == 0
    (path / "result.json").unlink()
    for damaged in ("latest/24/state/manifest.ocdbt", "best/24/parameters/manifest.ocdbt"):
        (path / "checkpoints" / damaged).write_bytes(b"")
    monkeypatch.setattr(train.build.logger, "propagate", True)
    with caplog.at_level("INFO", logger="jaxrnn"):
        assert train.main(arguments(path)) == 0
    assert re.search(r"latest/24: the checkpoint is damaged .*; using .*latest/16 instead", caplog.text)
    assert "resuming at step 16 of 24" in caplog.text
    assert_same_run(run_dir, path)


def test_changed_data_is_noticed(data, arguments, tmp_path):
    changed = tmp_path / "data"
    changed.mkdir()
    for file in data.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    source = f"data.source={changed}"
    run_dir = tmp_path / "run"
    assert train.main(arguments(run_dir, source)) == 0
    (run_dir / "result.json").unlink()
    with (changed / "train.jsonl").open("a") as file:
        file.write('\n{"text": "another word", "label": "good"}')
    with pytest.raises(InputError, match=r"data\.source has changed since this run began"):
        train.main(arguments(run_dir, source))


def test_a_typo_leaves_nothing_that_stands_in_the_way(data, arguments, tmp_path):
    run_dir = tmp_path / "run"
    for typo in ("data.source=/nowhere", "vectors.path=/nowhere", f"vectors.path={data / 'test.jsonl'}"):
        with pytest.raises(InputError, match=typo.partition("=")[0]):
            train.main(arguments(run_dir, typo))
        assert [path.name for path in run_dir.iterdir()] == [".lock"]
    assert train.main(arguments(run_dir, "train.max_steps=1")) == 0


def test_settings_without_effect_may_change_on_the_way(run_dir, arguments, capsys):
    assert train.main(arguments(run_dir, "train.checkpoint_every_seconds=7")) == 0
    assert "this run is complete" in capsys.readouterr().out


def test_a_huge_text_is_cut(arguments, data, tmp_path, caplog, monkeypatch, capsys):
    big = tmp_path / "data"
    big.mkdir()
    for file in data.iterdir():
        (big / file.name).write_bytes(file.read_bytes())
    huge = "dull " * 100_000
    with (big / "train.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"text": huge, "label": "bad"}))
    monkeypatch.setattr(train.build.logger, "propagate", True)
    with caplog.at_level("INFO", logger="jaxrnn"):
        assert train.main(arguments(tmp_path / "run", f"data.source={big}", "train.max_steps=1")) == 0
    assert "cut 1 of 121 texts to data.max_tokens = 400" in caplog.text
    assert predict.main([str(tmp_path / "run"), huge]) == 0


def test_max_steps_ends_the_run_early(arguments, tmp_path):
    assert train.main(arguments(tmp_path / "run", "train.max_steps=2")) == 0
    assert [record["step"] for record in metrics_of(tmp_path / "run")] == [2]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["best_step"] == 2


def command(module, *arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", f"jaxrnn.{module}", *arguments],
        capture_output=True,
        timeout=120,
        **settings,
    )


@pytest.fixture
def command_here(monkeypatch, capsys):
    """`(module, *arguments) -> (status, output, errors)`, in this process: starting another takes seconds."""
    logger = logging.getLogger("jaxrnn")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", logger.propagate)
    monkeypatch.setattr(logger, "level", logger.level)

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(SystemExit) as done:
            command_line.run({"train": train, "evaluate": evaluate, "predict": predict}[module].main)
        return done.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("train", ["data.source=/nowhere/at/all"], "no such file or folder"),
        ("train", ["run_dir=/proc/nothing"], "cannot be written"),
        ("train", ["run_dir=~nosuchuser/" + 300 * "x"], "name too long"),
        ("train", ["a.toml", "b.toml"], "a.toml: no such config file"),
        ("evaluate", ["/nowhere", "--split", "tets"], "tets"),
        ("evaluate", ["/nowhere"], "expected the folder of a run"),
        ("evaluate", [], "RUN_DIR"),
        ("predict", ["/nowhere", "text"], "expected the folder of a run"),
    ],
)
def test_bad_input_ends_with_one_line_and_status_2(module, arguments, message, command_here, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, output, errors = command_here(module, *arguments)
    assert (status, output) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\n", errors), errors
    assert message in errors


def test_bad_input_of_a_real_process(tmp_path):
    done = command("train", "model.hiden=3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.fullmatch(rb"error: [^\n]*model.hidden[^\n]*\n", done.stderr), done.stderr


def test_predict_reads_lines_of_any_bytes(run_dir):
    text = "dull cold\r\n\nlovely \x85 \u2028 bright\n".encode() + b"clever \xff warm"
    done = command("predict", run_dir, input=text)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    labels = [line.split("\t")[0] for line in done.stdout.decode().split("\n")[:-1]]
    assert len(labels) == 4  # the second is an empty text
    assert (labels[0], labels[2], labels[3]) == ("bad", "good", "good")


@pytest.mark.slow
def test_predict_takes_a_text_of_any_bytes_or_none(run_dir):
    done = command("predict", run_dir, b"lovely \xff")
    assert (done.returncode, done.stdout[:5]) == (0, b"good\t")
    assert command("predict", run_dir, input=b"").stdout == b""


@pytest.mark.slow
def test_ctrl_c_of_a_real_process(run_dir, arguments, tmp_path):
    """Stopped by a signal from outside while it trains, then started again by the same command."""
    words = [sys.executable, "-m", "jaxrnn.train", *arguments(tmp_path / "run", "train.checkpoint_every_seconds=0")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    latest = tmp_path / "run" / "checkpoints" / "latest"
    deadline = time.monotonic() + 100
    while process.poll() is None and not (latest / "1").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    assert b"the same command goes on from here" in output
    again = subprocess.run(words, capture_output=True, timeout=120)
    assert again.returncode == 0, again.stderr.decode()
    assert b"resuming at step" in again.stderr
    assert_same_run(run_dir, tmp_path / "run")


def test_help_names_every_key(command_here):
    status, output, _ = command_here("train", "--help")
    assert status == 0
    assert "optim.learning_rate" in output


def test_the_shipped_configs_build(tmp_path):
    from jaxrnn.config import load_config
    from jaxrnn.data import Vocabulary

    for path in sorted((Path(__file__).parent.parent / "configs").glob("*.toml")):
        config = load_config(path, ["model.hidden=4", "model.embedding=3"])
        model = build.build_model(config, Vocabulary(map(str, range(5))), num_classes=2)
        logits = model(np.ones((2, 3), np.int32), np.array([3, 1]), rngs=nnx.Rngs(dropout=0))
        assert logits.shape == (2, 1)
        assert np.isfinite(logits).all()
