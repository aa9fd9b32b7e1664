"""Kills training processes at random moments and compares what they leave with a run that nobody disturbed.

    python tests/stress/kills.py [--kills 100] [--per-run 10] [--seed 0] [--out benchmarks/results/kills.json]

Every process is `python -m jaxrnn.train` on 160 articles of the quickstart. It is killed by SIGKILL: at a random moment
of its start or of the training, or as soon as a save is seen on the disk. Then the same command goes on. At the end the
state (parameters, optimiser, position) of the last checkpoint and the best parameters must equal the undisturbed run's
bit for bit, and metrics.jsonl and result.json all but their times.
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

SETTINGS = [
    "data.source=bbc-news", "data.max_train_examples=160", "data.max_tokens=60", "data.max_shapes=2",
    "model.embedding=16", "model.hidden=16", "train.batch_size=8", "train.epochs=6", "train.checkpoint_every_steps=4",
]  # fmt: skip
NUM_STEPS = 120
LIMIT_SECONDS = 1200  # for one process, which may be stopped for minutes while something else is timed


def command(run_dir: Path, cache: Path) -> list[str]:
    """The command of a run."""
    return [sys.executable, "-m", "jaxrnn.train", *SETTINGS, f"data.cache_dir={cache}", f"run_dir={run_dir}"]


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


def start_and_kill(words: list[str], run_dir: Path, rng: random.Random) -> dict:
    """Starts the command and kills it; tells when, or its exit status if it came to its end before."""
    way = rng.choice(["start", "training", "training", "save", "save"])
    before, _ = saves(run_dir)
    target = before + rng.randint(1, NUM_STEPS // 6)  # how far it may come
    delay = rng.uniform(0, 8) if way == "start" else rng.uniform(0, 0.1)
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
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
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-2000:]}")


def contents(run_dir: Path) -> dict:
    """All that two equal runs have in common: arrays as bytes, and what is written but for the times."""
    from jaxrnn import build
    from jaxrnn.config import load_config
    from jaxrnn.data import Vocabulary
    from jaxrnn.training import Checkpoints, TrainState, split_model

    config = load_config(run_dir / "config.toml", [])
    labels = json.loads((run_dir / "labels.json").read_text())
    vocabulary = Vocabulary.load(run_dir / "vocabulary.txt")
    model = split_model(build.build_model(config, vocabulary, num_classes=len(labels)))
    checkpoints = Checkpoints(run_dir / "checkpoints", read_only=True)
    restored = checkpoints.restore_latest(
        TrainState.initial(model.parameters, build.build_optimizer(config, num_steps=1).transformation)
    )
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
        "position": position._replace(seconds=0.0),
        "best": (best_step, arrays(best)),
        "metrics": [untimed(json.loads(line)) for line in (run_dir / "metrics.jsonl").read_text().splitlines()],
        "result": untimed(json.loads((run_dir / "result.json").read_text())),
        "files": sorted(path.name for path in run_dir.iterdir()),
    }


def disturbed_run(folder: Path, cache: Path, rng: random.Random, num_kills: int) -> tuple[Path, list[dict]]:
    """A run that is killed so many times, unless it ends before, and then comes to its end."""
    words = command(folder, cache)
    kills = []
    while len(kills) < num_kills and not (folder / "result.json").exists():
        kill = start_and_kill(words, folder, rng)
        if kill["exit_status"]:
            raise RuntimeError(kill["errors"])
        if kill["exit_status"] is None:
            kills.append(kill)
    finish(words)
    return folder, kills


def lost(kill: dict) -> bool:
    """Whether a process did not go on from the newest checkpoint that was there, or threw it away."""
    resumed_at = kill["saved_before"] if kill["resumed_at"] is None else kill["resumed_at"]  # killed before it said so
    return min(resumed_at, kill["newest_saved"]) < kill["saved_before"]


def main() -> None:
    """Runs, compares, writes the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--per-run", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        finish(command(Path(scratch) / "undisturbed", cache))
        expected = contents(Path(scratch) / "undisturbed")
        while sum(len(run["kills"]) for run in runs) < options.kills:
            folder, kills = disturbed_run(Path(scratch) / f"run{len(runs)}", cache, rng, options.per_run)
            found = contents(folder)
            different = [name for name in expected if found[name] != expected[name]]
            runs.append({"kills": kills, "differences": different, "lost": sum(map(lost, kills))})
            total = sum(len(run["kills"]) for run in runs)
            print(
                f"run {len(runs)}: {len(kills)} kills ({total} in all), differences: {different or 'none'}", flush=True
            )
            if options.out:
                write(options.out, runs, options)


def write(out: Path, runs: list[dict], options: argparse.Namespace) -> None:
    """The log so far, as JSON."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from benchmarks.environment import environment

    kills = [kill for run in runs for kill in run["kills"]]
    summary = {
        "kills": len(kills),
        "runs": len(runs),
        "kills_during_a_save": sum(kill["during_a_save"] for kill in kills),
        "differences": sum(len(run["differences"]) for run in runs),
        "lost_checkpoints": sum(run["lost"] for run in runs),
    }
    words = f"python tests/stress/kills.py --kills {options.kills} --per-run {options.per_run} --seed {options.seed}"
    out.write_text(json.dumps({**environment(words), "summary": summary, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
