"""Kills training processes at random moments and compares what they leave with a run that nobody disturbed.

    python tests/stress/kills.py [--task NAME ...] [--kills 100] [--per-run 10] [--seed 0] [--out FILE.json]

Every process is `python -m jaxrnn.train` on the tiny data set of an application's own tests; without --task the
applications take turns. It is killed by SIGKILL: at a random moment of its start or of the training, or as soon as a
save is seen on the disk. Then the same command goes on. At the end the state of the last checkpoint (parameters,
optimiser, carry, position) and the best parameters must equal the undisturbed run's bit for bit, and metrics.jsonl
and result.json all but their times.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from contracts import load_contract  # noqa: E402

TASKS = ("classification", "language_modelling", "tagging")
SETTINGS = ["data.max_shapes=2", "train.batch_size=8", "train.epochs=6", "train.checkpoint_every_steps=4"]
LIMIT_SECONDS = 1200  # for one process, which may be stopped for minutes while something else is timed


class Recipe:
    """The command of an application's runs, on its tiny data set in a folder."""

    def __init__(self, task: str, folder: Path):
        self.task = task
        (folder / "data").mkdir(parents=True)
        settings = load_contract(task).write_data(folder / "data")
        self._settings = [*settings, *SETTINGS, f"data.cache_dir={folder / 'cache'}"]
        self.undisturbed = folder / "undisturbed"
        finish(self.command(self.undisturbed))
        self.expected = contents(self.undisturbed)
        self.num_steps = max(record["step"] for record in self.expected["metrics"])

    def command(self, run_dir: Path) -> list[str]:
        """The words that start a run, or go on with it."""
        return [sys.executable, "-m", "jaxrnn.train", *self._settings, f"run_dir={run_dir}"]


def saves(run_dir: Path) -> tuple[int, bool]:
    """The newest step that is saved whole, and whether a save is under way."""
    newest, writing = -1, False
    for kind in ("latest", "best"):
        try:
            names = os.listdir(run_dir / "checkpoints" / kind)
        except FileNotFoundError:
            continue
        for name in names:
            whole = name.isdigit() and (run_dir / "checkpoints" / kind / name / "checksums.json").exists()
            writing |= not whole
            if whole and kind == "latest":
                newest = max(newest, int(name))
    return newest, writing


def start_and_kill(recipe: Recipe, run_dir: Path, rng: random.Random) -> dict:
    """Starts the command and kills it; tells when, or its exit status if it came to its end before."""
    way = rng.choice(["start", "training", "training", "save", "save"])
    before, _ = saves(run_dir)
    target = before + rng.randint(1, recipe.num_steps // 6)  # how far it may come
    delay = rng.uniform(0, 8) if way == "start" else rng.uniform(0, 0.1)
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen(recipe.command(run_dir), stdout=subprocess.DEVNULL, stderr=errors, cwd=ROOT)
        while process.poll() is None and time.monotonic() - start < LIMIT_SECONDS:
            newest, writing = saves(run_dir)
            if way == "start" and time.monotonic() - start >= delay:
                break
            if way == "save" and newest >= target and writing:
                break
            if way == "training" and newest >= target:
                time.sleep(delay)
                break
            time.sleep(0.0005)
        newest, writing = saves(run_dir)
        seconds = time.monotonic() - start
        ended = process.poll()
        process.kill()
        process.wait()
        errors.seek(0)
        text = errors.read().decode()
    resumed = re.search(r"resuming at step (\d+)", text)
    return {
        "way": way,
        "seconds": round(seconds, 3),
        "saved_before": before,
        "resumed_at": int(resumed[1]) if resumed else None,
        "newest_saved": newest,
        "during_a_save": writing,
        "exit_status": ended,  # None: killed
        "errors": text[-2000:] if ended else "",
        "warnings": re.findall("the checkpoint is damaged.*", text),
    }


def finish(words: list[str]) -> None:
    """Runs the command to its end."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_SECONDS, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-2000:]}")


def contents(run_dir: Path) -> dict:
    """All that two equal runs have in common: arrays as bytes, and what is written but for the times."""
    from jaxrnn import train
    from jaxrnn.applications import build_network, get, load_config
    from jaxrnn.training import Checkpoints, TrainState

    config = load_config(run_dir / "config.toml", [])
    application = get(config.task)
    assets = application.assets.load(run_dir)
    model = build_network(application, config, assets)
    carry = application.task(config, assets).initial_carry(
        model.merge(model.parameters, model.rest), config.train.batch_size
    )
    optimizer = train._optimizer(config, 10_000, model)
    checkpoints = Checkpoints(run_dir / "checkpoints", read_only=True)
    restored = checkpoints.restore_latest(TrainState.initial(model.parameters, optimizer.transformation, carry))
    assert restored is not None
    state, position = restored
    best, best_step = checkpoints.restore_best(model.parameters)
    checkpoints.close()

    def untimed(record: dict) -> dict:  # without what a start after a kill takes anew
        return {key: value for key, value in record.items() if "second" not in key and key != "last_start"}

    def arrays(tree) -> dict:
        leaves, _ = jax.tree.flatten_with_path(tree)
        return {jax.tree_util.keystr(path): (str(leaf.dtype), np.asarray(leaf).tobytes()) for path, leaf in leaves}

    return {
        "state": arrays(state),
        "position": position._replace(seconds=0.0).to_json(),
        "best": (best_step, arrays(best)),
        "metrics": [untimed(json.loads(line)) for line in (run_dir / "metrics.jsonl").read_text().splitlines()],
        "result": untimed(json.loads((run_dir / "result.json").read_text())),
        "fingerprints": json.loads((run_dir / "run.json").read_text()),
        "files": sorted(path.name for path in run_dir.iterdir()),
    }


def disturbed_run(recipe: Recipe, folder: Path, rng: random.Random, num_kills: int) -> list[dict]:
    """A run that is killed this many times, unless it ends before, and then comes to its end."""
    kills = []
    while len(kills) < num_kills and not (folder / "result.json").exists():
        kill = start_and_kill(recipe, folder, rng)
        if kill["exit_status"]:
            raise RuntimeError(kill["errors"])
        if kill["exit_status"] is None:
            kills.append(kill)
    finish(recipe.command(folder))
    return kills


def differences(recipe: Recipe, folder: Path) -> list[str]:
    """What a run has that the undisturbed one has otherwise."""
    found = contents(folder)
    return [name for name in recipe.expected if found[name] != recipe.expected[name]]


def lost(kill: dict) -> bool:
    """Whether a process did not go on from the newest checkpoint that was there, or threw it away."""
    resumed_at = kill["saved_before"] if kill["resumed_at"] is None else kill["resumed_at"]  # killed before it said so
    return min(resumed_at, kill["newest_saved"]) < kill["saved_before"]


def main() -> None:
    """Runs, compares, writes the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=TASKS, help="application; default: all, in turns")
    parser.add_argument("--kills", type=int, default=100, help="kills in all; default: %(default)s")
    parser.add_argument("--per-run", type=int, default=10, help="kills of one run; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments; default: %(default)s")
    parser.add_argument("--out", type=Path, help="file that receives the log as JSON")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        recipes = [Recipe(task, Path(scratch) / task) for task in options.task or TASKS]
        while sum(len(run["kills"]) for run in runs) < options.kills:
            recipe = recipes[len(runs) % len(recipes)]
            folder = Path(scratch) / f"run{len(runs)}"
            kills = disturbed_run(recipe, folder, rng, options.per_run)
            different = differences(recipe, folder)
            lost_checkpoints = sum(map(lost, kills))
            runs.append({"task": recipe.task, "kills": kills, "differences": different, "lost": lost_checkpoints})
            total = sum(len(run["kills"]) for run in runs)
            line = f"run {len(runs)}, {recipe.task}: {len(kills)} kills ({total} in all)"
            print(f"{line}, differences: {different or 'none'}", flush=True)
            if options.out:
                write(options.out, runs, options)


def write(out: Path, runs: list[dict], options: argparse.Namespace) -> None:
    """The log so far, as JSON."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.environment import environment

    kills = [kill for run in runs for kill in run["kills"]]
    summary = {
        "kills": len(kills),
        "kills_by_task": {
            task: sum(len(run["kills"]) for run in runs if run["task"] == task) for task in options.task or TASKS
        },
        "runs": len(runs),
        "kills_during_a_save": sum(kill["during_a_save"] for kill in kills),
        "differences": sum(len(run["differences"]) for run in runs),
        "lost_checkpoints": sum(run["lost"] for run in runs),
    }
    words = f"python tests/stress/kills.py --kills {options.kills} --per-run {options.per_run} --seed {options.seed}"
    words += "".join(f" --task {task}" for task in options.task or ())
    out.write_text(json.dumps({**environment(words), "summary": summary, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
