"""A training step of the reference model on 1, 2, 4 and 8 devices: its time, and what the devices send each other.

    python -m benchmarks.scaling [--out FILE.json]

The devices are virtual ones of the CPU, so they share its cores: the times say what dividing the work costs, not what
more hardware would gain. Batches of 64 reviews of 256 tokens; a process for each number of devices, which go in turn.
The bytes are those of the collective operations in the program that XLA compiled.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DEVICES = (1, 2, 4, 8)
BATCH, TOKENS, WORDS = 64, 256, 25_002
ROOT = Path(__file__).parent.parent
COLLECTIVE = re.compile(r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def measure(num_steps: int) -> dict[str, object]:
    """Seconds of each step after the first, and bytes by kind of collective operation."""
    import jax
    import numpy as np

    from benchmarks.reference_model import CONFIG, build_reference, random_batch
    from jaxrnn.applications import load_config
    from jaxrnn.training import Devices

    config = load_config(CONFIG, [])
    model = build_reference(config, num_tokens=WORDS, num_steps=num_steps, devices=Devices.of())
    state = model.initial_state()
    batch = random_batch(np.random.default_rng(0), batch_size=BATCH, time=TOKENS, num_tokens=WORDS)
    seconds, losses = [], []
    for _ in range(num_steps + 1):
        start = time.perf_counter()
        state, sums, _ = jax.block_until_ready(model.step(state, batch))
        seconds.append(time.perf_counter() - start)
        losses.append(float(sums["loss"]) / BATCH)
    return {
        "seconds": seconds[1:],
        "losses": losses,
        "parameter_bytes": sum(p.nbytes for p in model.split.parameters.values()),
    }


def collective_bytes(folder: Path) -> dict[str, int]:
    """Bytes of the results of each kind of collective operation in the compiled step."""
    (program,) = folder.glob("*jit_train_step*after_optimizations.txt")
    found: dict[str, int] = {}
    for shapes, kind in COLLECTIVE.findall(program.read_text()):
        elements = (math.prod(map(int, re.findall(r"\d+", dims))) for dims in re.findall(r"\w+\[([\d,]*)\]", shapes))
        found[kind] = found.get(kind, 0) + 4 * sum(elements)  # all of them are of 4 bytes an element
    return found


def in_process(num_devices: int, num_steps: int) -> dict[str, object]:
    """`measure` in a process of its own with so many devices."""
    with tempfile.TemporaryDirectory() as folder:
        flags = f"--xla_dump_to={folder} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=jit_train_step"
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(num_devices), "XLA_FLAGS": flags}
        command = [sys.executable, "-m", "benchmarks.scaling", "--measure", str(num_steps)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return {**json.loads(done.stdout.splitlines()[-1]), "collective_bytes": collective_bytes(Path(folder))}


def main() -> None:
    """Measures, prints a table, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scaling.json")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    rows: dict[str, dict[str, Any]] = {str(count): {"seconds": []} for count in DEVICES}
    for _ in range(options.rounds):
        for count, row in rows.items():
            found = in_process(int(count), options.steps)
            row["seconds"] += found.pop("seconds")
            row |= found
    print("| devices | a step, median | all | bytes sent |\n|---|---|---|---|")
    for count, row in rows.items():
        row["median_seconds"] = statistics.median(row["seconds"])
        low, high = min(row["seconds"]), max(row["seconds"])
        sent = ", ".join(f"{kind} {size:,}" for kind, size in row["collective_bytes"].items())
        print(f"| {count} | {row['median_seconds']:.2f} s | {low:.2f} to {high:.2f} s | {sent} |")

    from benchmarks.environment import environment

    command = "python -m benchmarks.scaling"
    options.out.write_text(json.dumps({**environment(command), "load": os.getloadavg(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
