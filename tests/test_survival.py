"""What a run lives through: old checkpoints, steps that are not finite, a full disk, another process, malice."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jax.numpy as jnp
import pytest
from small_data import SMALL, assert_same_run, metrics_of, write_data

from jaxrnn import build, evaluate, train
from jaxrnn.errors import InputError

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    with (folder / "train.jsonl").open("a") as file:
        file.write('\n{"text": "a quux film", "label": "good"}')  # number 120
    return folder


@pytest.fixture(scope="module")
def arguments(data, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return lambda run_dir, *more: [
        f"data.source={data}",
        f"data.cache_dir={cache}",
        f"run_dir={run_dir}",
        *SMALL,
        *more,
    ]


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("jaxrnn"), "propagate", True)
    caplog.set_level("INFO", logger="jaxrnn")
    return caplog


def test_a_run_of_format_1_goes_on(tmp_path, monkeypatch, log, capsys):
    """Stopped at step 5 of 9, before checkpoints had checksums; its own release ended it with these numbers."""
    zipfile.ZipFile(GOLDEN / "run_format_1.zip").extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(["run", "--json", "--data", "data/test.jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(0.7110406160354614, rel=1e-5)
    settings = [
        "model.embedding=4", "model.hidden=3", "data.max_shapes=1", "train.batch_size=8", "train.epochs=3",
        "optim.learning_rate=0.02",
    ]  # fmt: skip
    assert train.main(["data.source=data", "data.cache_dir=cache", "run_dir=run", *settings]) == 0
    assert "resuming at step 5 of 9" in log.text
    losses = [record["loss"] for record in metrics_of(tmp_path / "run")]
    assert losses == pytest.approx([0.6915199756622314, 0.6791601181030273, 0.6609398722648621], rel=1e-5)
    assert json.loads(Path("run/result.json").read_text())["test_loss"] == pytest.approx(0.6957581043243408, rel=1e-5)


@pytest.fixture
def poisoned(monkeypatch):
    """The vector of one word, which one training text has, is not a number: so is every gradient it is in."""
    with_vectors = build.with_vectors

    def poison(config, parameters, vocabulary):
        parameters = with_vectors(config, parameters, vocabulary)
        row = vocabulary.tokens.index("quux")
        name = "embedding.embedding"
        return parameters | {name: parameters[name].at[row].set(jnp.nan)}

    monkeypatch.setattr(train.build, "with_vectors", poison)


def test_a_step_that_is_not_finite_stops_the_run_by_name(arguments, tmp_path, poisoned):
    with pytest.raises(
        InputError, match=r"step \d+: the loss or its gradient is not finite .*120.*skip_nonfinite is 0"
    ):
        train.main(arguments(tmp_path / "run"))


def test_steps_that_are_not_finite_are_skipped_up_to_a_number(arguments, tmp_path, poisoned, log, monkeypatch):
    with pytest.raises(InputError, match=r"120.*skip_nonfinite is 2"):
        train.main(arguments(tmp_path / "few", "optim.skip_nonfinite=2"))
    log.clear()
    assert train.main(arguments(tmp_path / "enough", "optim.skip_nonfinite=3")) == 0
    assert "skipped, 3 of at most 3" in log.text
    assert json.loads((tmp_path / "enough" / "result.json").read_text())["skipped_steps"] == 3
    for record in metrics_of(tmp_path / "enough"):
        assert record["loss"] < 1
        assert record["accuracy"] > 0.4


def start(words):
    return subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_folder_in_use_is_refused_and_a_second_signal_ends_at_once(arguments, tmp_path):
    run_dir = tmp_path / "run"
    process = start(["jaxrnn.train", *arguments(run_dir, "train.epochs=100000")])
    try:
        while process.poll() is None and not (run_dir / "metrics.jsonl").exists():
            time.sleep(0.01)
        with pytest.raises(InputError, match=f"is in use by process {process.pid};"):
            train.main(arguments(run_dir, "train.epochs=100000"))
        process.send_signal(signal.SIGINT)
        while b"once more to stop at once" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (-signal.SIGTERM, 130)  # 130: it had saved before the second came
    finally:
        process.kill()
        process.communicate()


NO_PICKLE = """
import pickle, _pickle, sys
def refuse(*arguments, **options):
    raise RuntimeError("unpickling")
class Refuse(_pickle.Unpickler):
    __init__ = load = find_class = refuse
for module in (pickle, _pickle):
    module.load = module.loads = refuse
    module.Unpickler = Refuse
pickle._load = pickle._loads = pickle._Unpickler.load = refuse
sys.addaudithook(lambda event, arguments: refuse() if event == "pickle.find_class" else None)
from jaxrnn import evaluate, predict, train
run_dir, *words = sys.argv[1:]
make = train.make_train_step
def stopping(*arguments, **options):
    import signal
    step = make(*arguments, **options)
    def stop(state, batch):
        state, totals = step(state, batch)
        if int(state.step) == 3:
            signal.raise_signal(signal.SIGINT)
        return state, totals
    return stop
train.make_train_step = stopping
assert train.main(words) == 130
train.make_train_step = make
assert train.main(words) == 0
assert evaluate.main([run_dir]) == 0
assert predict.main([run_dir, "a dull film"]) == 0
"""


@pytest.mark.slow
def test_nothing_is_unpickled(arguments, tmp_path):
    """A whole run, a resume, evaluate and predict in a process that cannot unpickle."""
    words = arguments(tmp_path / "run", f"data.cache_dir={tmp_path}", "train.epochs=1")
    done = subprocess.run([sys.executable, "-c", NO_PICKLE, str(tmp_path / "run"), *words], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"everything is in" in done.stdout
    program = "import sys\n" + NO_PICKLE.partition("from jaxrnn")[0] + "pickle.loads(pickle.dumps(len))"
    assert b"unpickling" in subprocess.run([sys.executable, "-c", program], capture_output=True).stderr


def test_a_run_folder_does_not_say_where_to_write(arguments, tmp_path):
    assert train.main(arguments(tmp_path / "run", "train.max_steps=1")) == 0
    config = tmp_path / "run" / "config.toml"
    elsewhere = tmp_path / "elsewhere"
    lines = [f'cache_dir = "{elsewhere}"' if "cache_dir" in line else line for line in config.read_text().split("\n")]
    config.write_text("\n".join(lines))
    assert evaluate.main([str(tmp_path / "run")]) == 0
    assert not elsewhere.exists()


FULL_DISK = """
set -e
mount -t tmpfs -o size=800k none "$1"
shift
set +e
"$@"; echo "first: $?"
mount -o remount,size=50m none "$(dirname "$RUN")"
"$@"; echo "second: $?"
cp -r "$RUN" "$KEEP"
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a mount namespace")
def test_a_full_disk(arguments, tmp_path):
    """On a disk that is really full: one line, and with room the run goes on to the same end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    wide = ["model.hidden=48", "train.keep_checkpoints=2"]
    # Also by a process of its own: the tests' has more devices, so sums of other orders.
    command = [sys.executable, "-m", "jaxrnn.train"]
    subprocess.run([*command, *arguments(tmp_path / "undisturbed", *wide)], check=True)
    words = [*command, *arguments(disk / "run", *wide)]
    environment = {"RUN": str(disk / "run"), "KEEP": str(tmp_path / "kept"), **os.environ}
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL_DISK, "sh", str(disk), *words],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert "first: 2" in done.stdout, done.stderr
    assert "second: 0" in done.stdout, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "could not be saved" in errors[0]
    assert "No space left on device" in errors[0]
    assert "Traceback" not in done.stderr
    assert "resuming at step" in done.stderr
    config = tmp_path / "kept" / "config.toml"
    config.write_text(config.read_text().replace(str(disk / "run"), str(tmp_path / "kept")))
    assert_same_run(tmp_path / "undisturbed", tmp_path / "kept")
