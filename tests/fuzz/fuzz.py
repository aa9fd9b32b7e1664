"""Feeds the command lines mutated configs, data files and run folders: each must run, or end with a line and status 2.

    python tests/fuzz/fuzz.py [--configs 1000] [--data 200] [--folders 200] [--seed 0] [--out FILE.json]

The applications take turns, each on the tiny data set of its own tests.

All in this process, in a scratch folder that also holds earlier runs, of which no byte may change. A traceback, more
than one line of error, another status, 120 seconds of CPU or 15 minutes of waiting count as failures.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import datasets
import jax

sys.path.insert(0, str(Path(__file__).parents[1]))
from contracts import load_contract

from jaxrnn import applications, evaluate, predict, report, train
from jaxrnn.applications import load_config
from jaxrnn.config import run, schema_of, to_toml

TASKS = ("classification", "language_modelling", "tagging")
TINY = [
    "data.cache_dir=cache", "data.max_shapes=1", "model.cell=elman", "model.hidden=2", "train.epochs=2",
    "train.batch_size=32", "train.checkpoint_every_steps=1",
]  # fmt: skip
# With these a run would wait for other processes, or train for ever.
LEFT_ALONE = ("task", "train.seeds", "devices.coordinator", "devices.num_processes", "devices.process")
VALUES = [
    "", "0", "1", "2", "-1", "0.5", "1e-3", "1e300", "-0.0", "nan", "inf", "true", "False", "none", "2147483647",
    "2147483648", "4294967296", "1_0", "0x10", "9" * 400, "lstm", "gru", "elman", "max", "bfloat16", "torch", "''",
    '"', "\\", "a" * 300, "../..", "/dev/null", "/proc/self", ".", "data", "~root", "\ud800", "é\u2028\n", "{}", "[1]",
    "__import__('os').system('touch pwned')", "!!python/object:os.system", "$(touch pwned)",
]  # fmt: skip


SETTINGS: dict[str, list[str]] = {}  # of each application's runs, once `prepare` has written its data


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to three small changes."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice([1, 1, 4, 40]))
        way = rng.randrange(6)
        if way == 0:  # flip a bit
            content = (
                content[:start] + bytes(byte ^ (1 << rng.randrange(8)) for byte in content[start:end]) + content[end:]
            )
        elif way == 1:
            content = content[:start]
        elif way == 2:
            content = content[:start] + content[end:]
        elif way == 3:
            content = content[:start] + rng.randbytes(rng.choice([1, 5, 100])) + content[start:]
        elif way == 4:
            content = content[:end] + content[start:end] + content[end:]
        else:
            content = content[:start] + rng.choice([b"\0", b"\xff", b'"', b"\n", b",", b"{", b"NaN"]) + content[end:]
    return content


def run_command(module: object, words: list[str]) -> dict:
    """Runs a command line here; `failure` says what was wrong with how it ended, and is empty if nothing was."""
    output, errors = io.StringIO(), io.StringIO()
    failure, status = "", None
    sys.argv = ["command", *words]
    signal.setitimer(signal.ITIMER_PROF, 120)
    signal.alarm(900)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            run(module.main)
    except SystemExit as done:
        status = done.code
    except BaseException:
        failure = traceback.format_exc()[-3000:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    lines = errors.getvalue().split("\n")
    if not failure and status not in (0, 2):
        failure = f"status {status}"
    if status == 2 and (sum(line.startswith("error: ") for line in lines) != 1 or not lines[-2].startswith("error: ")):
        failure = "not one line of error"
    if "Traceback" in errors.getvalue():
        failure = failure or "a traceback"
    return {"words": words, "status": status, "failure": failure, "error": "\n".join(lines[-4:])[-600:]}


def fuzz_config(rng: random.Random) -> dict:
    """A mutated file, mutated overrides, or both."""
    task = rng.choice(TASKS)
    own = [key for key in schema_of(applications.get(task).config).keys if key not in LEFT_ALONE]
    others = [key for other in TASKS for key in schema_of(applications.get(other).config).keys if key not in LEFT_ALONE]
    keys = [*own * 4, *others, "model", "model.hiden", "x"]
    run_dir = rng.choice([f"new-{task}", f"new-{task}", f"new-{task}", f"earlier-{task}", "half"])
    shutil.rmtree(f"new-{task}", ignore_errors=True)
    shutil.rmtree("half", ignore_errors=True)
    shutil.copytree(f"kept-{task}", "half")
    overrides = [f"{rng.choice(keys)}={rng.choice(VALUES)}" for _ in range(rng.randint(0, 2))]
    text = to_toml(load_config(None, [*SETTINGS[task], f"run_dir={run_dir}"])).encode()
    if rng.random() < 0.6:
        text = mutate(text, rng)
    elif rng.random() < 0.5:
        lines = text.split(b"\n")
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
        text = b"\n".join(lines)
    Path("config.toml").write_bytes(text)
    # What would train for ever is cut short, and the folder stays in this one, unless those are what is mutated.
    last = [] if any(each.startswith(("run_dir", "x")) for each in overrides) else [f"run_dir={run_dir}"]
    last += [] if run_dir == "half" else ["train.max_steps=1", "train.seeds=1"]
    result = run_command(train, ["config.toml", *overrides, *last])
    if result["status"] == 2 and fingerprint("half") != fingerprint(f"kept-{task}"):
        result["failure"] += " a refused config changed the run"
    return result


def fuzz_data(rng: random.Random) -> dict:
    """A data set of which one file is mutated; that of a classifier also in other formats."""
    task = rng.choice([*TASKS, "tables"])
    folder = Path(f"data-{task}")
    shutil.rmtree("mutated", ignore_errors=True)
    shutil.rmtree("new", ignore_errors=True)
    shutil.copytree(folder, "mutated")
    path = rng.choice(sorted(path for path in Path("mutated").rglob("*") if path.is_file()))
    path.write_bytes(mutate(path.read_bytes(), rng))
    source = path if task == "tables" else Path("mutated")
    settings = SETTINGS["classification" if task == "tables" else task]
    return run_command(train, [*settings, "run_dir=new", f"data.source={source}", "train.max_steps=1"])


def fuzz_folder(rng: random.Random) -> dict:
    """A run, half done or complete, of which one or two files are mutated."""
    task = rng.choice(TASKS)
    shutil.rmtree("half", ignore_errors=True)
    shutil.copytree(rng.choice([f"kept-{task}", f"complete-{task}"]), "half")
    changed = []
    for _ in range(rng.randint(1, 2)):
        paths = sorted(path for path in Path("half").rglob("*") if path.is_file() and not path.is_symlink())
        top = [path for path in paths if path.parent == Path("half")]
        path = rng.choice(rng.choice([paths, top]))
        way = rng.choice(["mutate"] * 6 + ["empty", "remove", "folder", "link", "random", "tree"])
        changed.append(f"{way} {path}")
        if way == "mutate":
            path.write_bytes(mutate(path.read_bytes(), rng))
        elif way == "random":
            path.write_bytes(rng.randbytes(200))
        elif way == "empty":
            path.write_bytes(b"")
        elif way == "tree":
            shutil.rmtree(path.parent if path.parent != Path("half") else "half/checkpoints", ignore_errors=True)
        else:
            path.unlink()
            if way == "folder":
                path.mkdir()
            elif way == "link":
                path.symlink_to(Path(f"earlier-{task}/metrics.jsonl").resolve())
    module, words = rng.choice(
        [(train, [*SETTINGS[task], "run_dir=half"])] * 2
        + [(evaluate, ["half"]), (predict, ["half", "a warm film"]), (report, ["half", "--out", "page.html"])]
    )
    return run_command(module, words) | {"changed": changed}


def fingerprint(folder: str) -> str:
    """Of all names and contents in a folder, but for the lock."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.name != ".lock")
    contents = [(str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"") for path in paths]
    return hashlib.sha256(repr(contents).encode()).hexdigest()


def prepare() -> None:
    """Data, and for each application a run that is complete, one of which no byte may change, and a half-done one."""
    for task in TASKS:
        data = Path(f"data-{task}")
        data.mkdir()
        SETTINGS[task] = [*load_contract(task).write_data(data), *TINY]
        result = run_command(train, [*SETTINGS[task], "run_dir=half"])
        assert result["status"] == 0, result
        shutil.copytree("half", f"complete-{task}")  # these two are copied back to where their config says they are
        shutil.copytree("half", f"earlier-{task}")
        config = Path(f"earlier-{task}/config.toml")
        config.write_text(config.read_text().replace('"half"', f'"earlier-{task}"'))
        Path("half/result.json").unlink()
        shutil.rmtree(max(Path("half/checkpoints/latest").iterdir(), key=lambda path: int(path.name)))
        Path("half").rename(f"kept-{task}")
    records = [{"text": f"{'fine warm' if i % 2 else 'dull cold'} film {i}", "label": i % 2} for i in range(24)]
    Path("data-tables").mkdir()
    Path("data-tables/texts.jsonl").write_text("\n".join(map(json.dumps, records)))
    table = datasets.Dataset.from_list(records)
    table.to_csv("data-tables/texts.csv")
    table.to_parquet("data-tables/texts.parquet")


def earlier() -> str:
    """What no run may change."""
    return "".join(fingerprint(f"earlier-{task}") for task in TASKS)


def fuzz(counts: dict[Callable[[random.Random], dict], int], seed: int) -> dict:
    """Runs so many of each in a scratch folder; returns what is reported."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError("it takes too long")

    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, give_up)
    home = Path.cwd()
    report = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            prepare()
            before = earlier()
            for case, count in counts.items():
                failures, ends = [], Counter()
                for number in range(count):
                    result = case(random.Random(f"{seed} {case.__name__} {number}"))
                    if earlier() != before:
                        result["failure"] += " an earlier run was changed"
                    if Path("pwned").exists():
                        result["failure"] += " something was executed"
                    if result["failure"]:
                        failures.append({"number": number, **result})
                        print(json.dumps(failures[-1], indent=1), flush=True)
                    ends["ran" if result["status"] == 0 else "refused" if result["status"] == 2 else "other"] += 1
                    if number % 100 == 99:
                        print(
                            f"{case.__name__}: {number + 1} of {count}, {dict(ends)}, {len(failures)} failures",
                            flush=True,
                        )
                report[case.__name__] = {"count": count, **ends, "failures": failures}
        finally:
            os.chdir(home)
    return report


def main() -> None:
    """Runs, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=1000)
    parser.add_argument("--data", type=int, default=200)
    parser.add_argument("--folders", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as compiled:
        jax.config.update("jax_compilation_cache_dir", compiled)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        counts = {fuzz_data: options.data, fuzz_folder: options.folders, fuzz_config: options.configs}
        report = fuzz(counts, options.seed)
    for name, part in report.items():
        print(f"{name}: {part}")
    if options.out:
        sys.path.insert(0, str(Path(__file__).parents[2]))
        from benchmarks.environment import environment

        words = (
            f"python tests/fuzz/fuzz.py --configs {options.configs} --data {options.data} --folders {options.folders}"
        )
        options.out.write_text(json.dumps({**environment(f"{words} --seed {options.seed}"), **report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
