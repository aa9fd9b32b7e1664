"""Train, evaluate, predict and report as users run them, on the tiny application of docs/add-an-application.md."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from parity import NUM_BATCHES
from small_data import assert_same_run, metrics_of, result_of

from jaxrnn import applications, evaluate, generate, predict, report, train
from jaxrnn.config import run, schema_of
from jaxrnn.errors import InputError

ROOT = Path(__file__).parent.parent
NUM_STEPS = 3 * NUM_BATCHES


@pytest.fixture(scope="module")
def run_dir(arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run <b>"
    assert train.main(arguments(path)) == 0
    return path


def move(path, **places):
    """Says in the config of a run that something is elsewhere."""
    text = (path / "config.toml").read_text()
    for key, place in places.items():
        text, count = re.subn(rf'^{key} = "[^"]*"', f'{key} = "{place}"', text, flags=re.M)
        assert count == 1
    (path / "config.toml").write_text(text)


# ---- a whole run


def test_training_learns_and_leaves_a_whole_run_folder(run_dir):
    assert sorted(path.name for path in run_dir.iterdir()) == [
        ".lock", "checkpoints", "config.toml", "curves.png", "metrics.jsonl", "result.json", "run.json",
    ]  # fmt: skip
    result, records = result_of(run_dir), metrics_of(run_dir)
    assert (result["test_strings"], result["num_parameters"], result["skipped_steps"]) == (30, 229, 0)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    best = min(records, key=lambda record: record["loss"])
    assert (best["step"], best["loss"]) == (result["best_step"], result["validation_loss"])
    assert (run_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
    fingerprints = json.loads((run_dir / "run.json").read_text())["fingerprints"]
    assert len({*fingerprints.values()}) == len(fingerprints) == 3


def test_evaluate_repeats_the_result(run_dir, strings, capsys):
    result = result_of(run_dir)
    for more in ([], ["--data", str(strings)]):
        assert evaluate.main([str(run_dir), "--json", *more]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["accuracy"] == result["test_accuracy"]
        assert answer["loss"] == pytest.approx(result["test_loss"], rel=1e-6)
        assert (answer["split"], answer["num_strings"], answer["step"]) == ("test", 30, result["best_step"])
    assert evaluate.main([str(run_dir), "--split", "train"]) == 0
    assert re.search(r"loss [\d.]+, accuracy [\d.]+ % \(60 strings\)\n$", capsys.readouterr().out)


def test_predict_answers_in_order_whatever_the_company(run_dir, capsys):
    texts = ["0", "10110111", "1", "0110"]
    assert predict.main([str(run_dir), "--json", *texts]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["text"] for answer in answers] == texts
    assert predict.main([str(run_dir), texts[1]]) == 0
    assert capsys.readouterr().out == f"{texts[1]} {'odd' if answers[1]['odd'] else 'even'}\n"
    with pytest.raises(InputError, match="--html"):
        predict.main([str(run_dir), "--html", "page.html", "0"])
    with pytest.raises(InputError, match="parity does not generate"):
        generate.main([str(run_dir), "0"])


def test_the_report_holds_what_was_measured_and_no_more(run_dir, tmp_path, capsys):
    assert report.main([str(run_dir)]) == 0
    page = (run_dir / "report.html").read_text()
    (run_dir / "report.html").unlink()
    result = result_of(run_dir)
    assert "run &lt;b&gt;" in page
    assert f"{result['validation_loss']:.4f}" in page
    assert f"{100 * result['test_accuracy']:.2f} %" in page
    assert "validation, 20 strings" in page
    assert "not complete" not in page
    assert "these are not the data" not in page
    assert page.count("<svg") == 2  # loss and accuracy
    assert not re.search(r"<(script|img|iframe)|src=|url\(http", page)
    assert report.main([str(run_dir), "--split", "test", "--out", str(tmp_path / "test.html")]) == 0
    assert f"{result['test_loss']:.4f}" in (tmp_path / "test.html").read_text()


def test_the_report_of_a_run_that_is_not_complete(run_dir, strings, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    (copy / "result.json").unlink()
    with pytest.raises(InputError, match="not complete"):
        report.main([str(copy), "--split", "test"])
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (copy / ".report.html.tmp").symlink_to(victim)  # a folder may come from anyone
    assert report.main([str(copy)]) == 0
    assert victim.read_text() == "mine"
    assert "not complete: it has reached step 24" in (copy / "report.html").read_text()
    other = shutil.copytree(strings, tmp_path / "strings")
    shutil.copy(other / "train.txt", other / "validation.txt")
    assert report.main([str(copy), "--data", str(other)]) == 0
    assert "these are not the data" in (copy / "report.html").read_text()
    with pytest.raises(InputError, match="/nowhere/at/all"):
        report.main([str(copy), "--data", "/nowhere/at/all"])
    move(copy, source="/nowhere")
    with pytest.raises(InputError, match="give --data SOURCE"):
        report.main([str(copy)])
    (copy / "metrics.jsonl").unlink()
    shutil.rmtree(copy / "checkpoints" / "best")
    assert report.main([str(copy)]) == 0
    assert "There is no checkpoint yet" in (copy / "report.html").read_text()


# ---- the same bits, also after a stop


@pytest.mark.parametrize("last_step", [3, 2 * NUM_BATCHES])  # inside an epoch, and at the end of one
def test_a_stopped_run_goes_on_to_the_same_end(run_dir, arguments, tmp_path, stopping, capsys, log, last_step):
    stopping(last_step)
    assert train.main(arguments(tmp_path / "run")) == 130
    assert "SIGINT" in capsys.readouterr().out
    stopping(None)
    assert train.main(arguments(tmp_path / "run")) == 0
    assert f"resuming at step {last_step} of {NUM_STEPS}" in log.text
    assert_same_run(run_dir, tmp_path / "run")


def test_a_damaged_checkpoint_costs_steps_not_bits(run_dir, arguments, tmp_path, log):
    path = shutil.copytree(run_dir, tmp_path / "run")
    (path / "result.json").unlink()
    move(path, run_dir=path)
    for damaged in ("latest/24/state/manifest.ocdbt", "best/24/parameters/manifest.ocdbt"):
        if (file := path / "checkpoints" / damaged).exists():
            file.write_bytes(b"")
    assert train.main(arguments(path)) == 0
    assert re.search(r"latest/24: the checkpoint is damaged .*; using .*latest/16 instead", log.text)
    assert f"resuming at step 16 of {NUM_STEPS}" in log.text
    assert_same_run(run_dir, path)


def test_a_complete_run_is_left_alone_also_with_settings_that_have_no_effect(run_dir, arguments, capsys):
    before = (run_dir / "result.json").stat().st_mtime_ns
    for more in ([], ["train.checkpoint_every_seconds=7", "train.keep_checkpoints=9"]):
        assert train.main(arguments(run_dir, *more)) == 0
        assert "this run is complete" in capsys.readouterr().out
    assert (run_dir / "result.json").stat().st_mtime_ns == before


# ---- what a run refuses


def test_another_config_in_the_same_folder_is_refused(run_dir, arguments):
    with pytest.raises(InputError, match=r"another config .*model.hidden.*9"):
        train.main(arguments(run_dir, "model.hidden=9"))


def flip_a_label(lines):
    bits, label = lines[7].split()
    return [*lines[:7], f"{bits} {1 - int(label)}", *lines[8:]]


CHANGES = {
    "flipped label": ("train", flip_a_label),
    "dropped example": ("train", lambda lines: lines[:-1]),
    "repeated example": ("train", lambda lines: [*lines, lines[0]]),
    "another order": ("train", lambda lines: lines[::-1]),
    "flipped validation label": ("validation", flip_a_label),
    "dropped test example": ("test", lambda lines: lines[1:]),
}


@pytest.fixture(scope="module")
def half_done(run_dir, tmp_path_factory):
    path = shutil.copytree(run_dir, tmp_path_factory.mktemp("half") / "run")
    (path / "result.json").unlink()
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_does_not_go_on_with_changed_data(half_done, arguments, strings, tmp_path, change):
    """Not even where everything that a run learns from its data before training stays the same."""
    split, edit = CHANGES[change]
    data, path = shutil.copytree(strings, tmp_path / "strings"), shutil.copytree(half_done, tmp_path / "run")
    lines = (data / f"{split}.txt").read_text().splitlines()
    (data / f"{split}.txt").write_text("".join(f"{line}\n" for line in edit(lines)))
    move(path, run_dir=path, source=data)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != ".lock"}
    with pytest.raises(InputError, match=rf"the {split} examples of data.source have changed"):
        train.main(arguments(path, f"data.source={data}"))
    assert all(file.read_bytes() == content for file, content in before.items())


def test_the_folder_of_another_release_is_refused(half_done, arguments, tmp_path):
    path = shutil.copytree(half_done, tmp_path / "run")
    move(path, run_dir=path)
    description = path / "run.json"
    description.write_text(description.read_text().replace('"format": 3', '"format": 2'))
    for command, words in ((train, arguments(path)), (evaluate, [str(path)]), (predict, [str(path), "0"])):
        with pytest.raises(InputError, match=r"another release of jaxrnn .format 2"):
            command.main(words)
    description.unlink()  # as the folders of 0.1 were
    for command, words in ((train, arguments(path)), (evaluate, [str(path)]), (report, [str(path)])):
        with pytest.raises(InputError, match=r"has no run\.json"):
            command.main(words)


def test_a_typo_leaves_nothing_that_stands_in_the_way(arguments, tmp_path):
    path = tmp_path / "run"
    for typo in ("data.source=/nowhere", "optim.warmup_steps=24", "devices.per_process=99"):
        with pytest.raises(InputError, match=rf"^{typo.partition('=')[0]}\b"):
            train.main(arguments(path, typo))
        assert [file.name for file in path.iterdir()] == [".lock"]
    assert train.main(arguments(path, "train.max_steps=2")) == 0
    assert [record["step"] for record in metrics_of(path)] == [2]
    assert result_of(path)["best_step"] == 2


# ---- bad input, as a user sees it


@pytest.fixture
def command_here(parity, monkeypatch, capsys):
    """`(module, *arguments) -> (status, output, errors)`, in this process: starting another takes seconds."""
    logger = logging.getLogger("jaxrnn")
    for name in ("propagate", "level"):
        monkeypatch.setattr(logger, name, getattr(logger, name))
    monkeypatch.setattr(logger, "handlers", [])
    modules = {"train": train, "evaluate": evaluate, "predict": predict, "generate": generate, "report": report}

    def command(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(SystemExit) as done:
            run(modules[module].main)
        return done.value.code, *capsys.readouterr()

    return command


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        ("train", ["task=parity", "data.source=/nowhere/at/all"], "data.source .*no train.txt"),
        ("train", ["task=parity", "run_dir=/proc/nothing"], "run_dir .*cannot be written"),
        ("train", ["task=parity", "run_dir=~nosuchuser/" + 300 * "x"], "name too long"),
        ("train", ["task=chess"], "task: .*classification.*'chess'"),
        ("train", ["task=parity", "model.hiden=3"], "model.hidden"),
        ("train", ["a.toml", "b.toml"], "a.toml: no such config file"),
        ("train", ["--rehearse"], "--rehearse"),
        ("evaluate", ["/nowhere", "--split", "tets"], "tets"),
        ("evaluate", ["/nowhere"], "the folder of a run"),
        ("evaluate", [], "RUN_DIR"),
        ("predict", ["/nowhere", "text"], "the folder of a run"),
        ("predict", ["--json"], "RUN_DIR"),
        ("generate", ["/nowhere"], "the folder of a run"),
        ("report", ["/nowhere"], "the folder of a run"),
    ],
)
def test_bad_input_ends_with_one_line_and_status_2(module, arguments, words, command_here, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, output, errors = command_here(module, *arguments)
    assert (status, output) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\n", errors), errors
    assert re.search(words, errors), errors


OWNED = [  # a key, the task that is trained, the task that has the key
    ("data.lowercase=false", "parity", "classification"),
    ("model.pooling=max", "language_modelling", "classification"),
    ("model.pooling=max", "parity", "classification"),
    ("loss.sampled_words=3", "classification", "language_modelling"),
    ("data.window=9", "classification", "language_modelling"),
    ("data.window=9", "parity", "language_modelling"),
]


@pytest.mark.parametrize(("override", "task", "owner"), OWNED)
def test_a_key_of_another_task_is_refused_with_the_task_that_has_it(override, task, owner, command_here, tmp_path):
    status, output, errors = command_here("train", f"task={task}", override, f"run_dir={tmp_path / 'run'}")
    assert (status, output) == (2, "")
    assert re.search(rf"'{override.partition('=')[0]}'.*{task}.*{owner}", errors), errors
    assert not (tmp_path / "run").exists()


def test_no_task_accepts_a_key_that_is_only_another_one_s(parity):
    """For every pair of applications, whatever they are."""
    keys = {task: set(schema_of(applications.get(task).config).keys) for task in applications.REGISTRY}
    for task, own in keys.items():
        for key in sorted(set().union(*keys.values()) - own):
            owners = [other for other, known in keys.items() if key in known]
            with pytest.raises(InputError) as caught:
                applications.load_config(None, [f"task={task}", f"{key}=1"])
            assert all(word in str(caught.value) for word in (f"'{key}'", task, *owners)), caught.value


def test_help_names_every_key_of_the_task(command_here):
    for task in applications.REGISTRY:
        status, output, _ = command_here("train", f"task={task}", "--help")
        assert status == 0
        assert all(f"\n{key} " in output for key in schema_of(applications.get(task).config).keys)


# ---- real processes


def process(words, **settings):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *words], capture_output=True, timeout=120, env=environment, **settings)


def test_bad_input_of_a_real_process(tmp_path):
    done = process(["-m", "jaxrnn.train", "model.hiden=3"], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.fullmatch(rb"error: [^\n]*model.hidden[^\n]*\n", done.stderr), done.stderr


@pytest.mark.slow
def test_ctrl_c_of_a_real_process(run_dir, arguments, tmp_path):
    """Stopped by a signal from outside while it trains, then started again by the same command."""
    often = "train.checkpoint_every_seconds=0"
    words = [str(ROOT / "tests" / "parity.py"), "train", *arguments(tmp_path / "run", often)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    first = subprocess.Popen([sys.executable, *words], stdout=pipe, stderr=pipe, env=environment)
    latest = tmp_path / "run" / "checkpoints" / "latest"
    deadline = time.monotonic() + 100
    while first.poll() is None and not (latest / "1").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGINT)
    output, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors.decode()
    assert b"the same command" in output
    again = process(words)
    assert again.returncode == 0, again.stderr.decode()
    assert b"resuming at step" in again.stderr
    assert_same_run(run_dir, tmp_path / "run")
