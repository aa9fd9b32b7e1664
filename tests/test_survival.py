"""What a run lives through: another process, malice, a full disk. On the tiny application."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_data import assert_same_run

from jaxrnn import train
from jaxrnn.errors import InputError

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, str(ROOT / "tests" / "parity.py"), "train"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def test_a_folder_in_use_is_refused_and_a_second_signal_ends_at_once(arguments, tmp_path):
    run_dir = tmp_path / "run"
    words = arguments(run_dir, "train.epochs=100000")
    pipe = subprocess.PIPE
    process = subprocess.Popen([*COMMAND, *words], stdout=pipe, stderr=pipe, env=ENVIRONMENT)
    try:
        while process.poll() is None and not (run_dir / "metrics.jsonl").exists():
            time.sleep(0.01)
        with pytest.raises(InputError, match=rf"in use by process {process.pid}\b"):
            train.main(words)
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
from jaxrnn import applications, evaluate, predict, train
import parity
applications.register("parity", parity.APPLICATION)
run_dir, *words = sys.argv[1:]
make = train.make_train_step
def stopping(*arguments, **options):
    import signal
    step = make(*arguments, **options)
    def stop(state, batch):
        result = step(state, batch)
        if int(result.state.step) == 3:
            signal.raise_signal(signal.SIGINT)
        return result
    return stop
train.make_train_step = stopping
assert train.main(words) == 130
train.make_train_step = make
assert train.main(words) == 0
assert evaluate.main([run_dir]) == 0
assert predict.main([run_dir, "0110"]) == 0
"""


@pytest.mark.slow
def test_nothing_is_unpickled(arguments, tmp_path):
    """A whole run, a resume, evaluate and predict in a process that cannot unpickle."""
    words = arguments(tmp_path / "run", "train.epochs=1")
    environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", NO_PICKLE, str(tmp_path / "run"), *words]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert b"everything is in" in done.stdout
    program = "import sys\n" + NO_PICKLE.partition("from jaxrnn")[0] + "pickle.loads(pickle.dumps(len))"
    assert b"unpickling" in subprocess.run([sys.executable, "-c", program], capture_output=True).stderr


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
    wide = ["model.hidden=96"]
    # Also by a process of its own: the tests' has more devices, so sums of other orders.
    subprocess.run([*COMMAND, *arguments(tmp_path / "undisturbed", *wide)], check=True, env=ENVIRONMENT)
    words = [*COMMAND, *arguments(disk / "run", *wide)]
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL_DISK, "sh", str(disk), *words],
        capture_output=True, text=True, env=ENVIRONMENT | {"RUN": str(disk / "run"), "KEEP": str(tmp_path / "kept")},
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
