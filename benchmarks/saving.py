"""Measures what saving costs: steps of the IMDB model with a checkpoint now and then, and without.

    python -m benchmarks.saving [--pairs 8] [--steps 5] [--out FILE.json]

The model of configs/imdb_bilstm.toml on random tokens of the mean review's length. Blocks of a few steps follow each
other in pairs: one begins with a save of everything (parameters, Adam's averages, position) and, as the worst case,
waits at its end until the checkpoint is whole and on the disk; the other has none. The difference is what a save costs;
divided by 100 steps' time it is the share for a save every 100 steps. Both are measured in seconds and in the process's
CPU seconds, all threads together; other work on the machine disturbs the latter less.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.environment import environment
from benchmarks.reference_model import CONFIG, build_reference, random_batch
from jaxrnn.applications import load_config
from jaxrnn.training import Checkpoints, Position

NUM_TOKENS, MEAN_LENGTH = 25_002, 273


def main() -> None:
    """Measures, prints, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "saving.json")
    options = parser.parse_args()
    config = load_config(CONFIG, [])
    model = build_reference(config, num_tokens=NUM_TOKENS, num_steps=1)
    step, state = model.step, model.initial_state()
    num_bytes = sum(4 * value.size for value in state.parameters.values())
    rng = np.random.default_rng(0)
    batch = random_batch(rng, batch_size=config.train.batch_size, time=MEAN_LENGTH, num_tokens=NUM_TOKENS)
    state, sums, _ = step(state, batch)  # compiles
    rows = []
    with tempfile.TemporaryDirectory(dir=options.out.parent) as folder:
        checkpoints = Checkpoints(Path(folder))
        for pair in range(options.pairs):
            row = {}
            for saving in (True, False) if pair % 2 else (False, True):
                start, start_cpu = time.perf_counter(), time.process_time()
                if saving:
                    checkpoints.save_latest(state, Position())
                    row["save_returned_after_seconds"] = time.perf_counter() - start
                for _ in range(options.steps):
                    state, sums, _ = step(state, batch)
                    float(sums["loss"])  # as the loop does
                if saving:
                    checkpoints.wait()
                name = "with_a_save" if saving else "without"
                row[f"{name}_seconds"] = time.perf_counter() - start
                row[f"{name}_cpu_seconds"] = time.process_time() - start_cpu
            rows.append(row)
            print(json.dumps(row), flush=True)
        checkpoints.close()
    result = environment(f"python -m benchmarks.saving --pairs {options.pairs} --steps {options.steps}")
    result["parameter_bytes"] = num_bytes
    for unit in ("seconds", "cpu_seconds"):
        added = statistics.median(row[f"with_a_save_{unit}"] - row[f"without_{unit}"] for row in rows)
        one_step = statistics.median(row[f"without_{unit}"] for row in rows) / options.steps
        percent = 100 * added / (100 * one_step)
        result[unit] = {"a_step": one_step, "a_save_adds": added, "percent_when_saving_every_100_steps": percent}
    print(json.dumps(result, indent=1))
    result["pairs"] = rows
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
