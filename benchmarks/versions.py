"""Compares the plain layer in two checkouts of this repository: compile time and time of a training step.

    python -m benchmarks.versions OLD_CHECKOUT [--out FILE.json]

Each measurement is a process that imports one checkout; the two take turns. A step is the loss and all gradients, under
jit, of a bidirectional LSTM without options.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TURNS, STEPS = 6, 8
CASES = {  # batch, time, features, hidden, layers, dtype
    "3 layers, B 32, T 128, D 64, H 128, float32": (32, 128, 64, 128, 3, "float32"),
    "2 layers, B 64, T 256, D 100, H 256, float32": (64, 256, 100, 256, 2, "float32"),
    "2 layers, B 64, T 256, D 100, H 256, bfloat16": (64, 256, 100, 256, 2, "bfloat16"),
}


def measure(case: str) -> dict[str, float]:
    """Measures the compile time and the median time of a few steps with the jaxrnn that Python imports."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from jaxrnn import nn

    batch, steps, features, hidden, layers, dtype = CASES[case]
    lstm = nn.LSTM(
        features, hidden, layers, bidirectional=True, time_major=True, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(jax.random.key(0), (steps, batch, features))
    graph, weights = nnx.split(lstm)

    def loss(weights: nnx.State, x: jax.Array) -> jax.Array:
        return jnp.square(nnx.merge(graph, weights)(x)[0]).mean()

    start = time.perf_counter()
    step = jax.jit(jax.value_and_grad(loss)).lower(weights, x).compile()
    compile_seconds = time.perf_counter() - start
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        jax.block_until_ready(step(weights, x))
        seconds.append(time.perf_counter() - start)
    return {"compile_seconds": compile_seconds, "step_seconds": statistics.median(seconds[1:])}


def measured_in(checkout: Path, case: str) -> dict[str, float]:
    """Runs `measure` in its own process with the jaxrnn of a checkout."""
    command = [sys.executable, __file__, "--only", case]
    path = {"PYTHONPATH": str(checkout.resolve())}
    done = subprocess.run(command, cwd=checkout, env=os.environ | path, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures both in turns, prints a table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, nargs="?", help="checkout of an earlier commit")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "results" / "versions.json",
        metavar="FILE",
        help="JSON file to write; default: benchmarks/results/versions.json",
    )
    parser.add_argument("--only", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only)))
        return
    from benchmarks.environment import environment
    from benchmarks.timing import compared

    rows: dict[str, Any] = {}
    print("| | compile | before / now | step | before / now |\n|---|---|---|---|---|")
    for case in CASES:
        turns = [{"now": measured_in(ROOT, case), "before": measured_in(arguments.old, case)} for _ in range(TURNS)]
        rows[case] = {
            key: compared({name: [turn[name][key] for turn in turns] for name in ("now", "before")})
            for key in ("compile_seconds", "step_seconds")
        }
        cells = [
            f"{row['seconds']['now']['median']:.2f} s | {row['ratios']['before']['median']:.2f}"
            for row in rows[case].values()
        ]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)
    before = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=arguments.old, capture_output=True, text=True)
    result = {
        **environment("python -m benchmarks.versions OLD_CHECKOUT"),
        "before": before.stdout.strip(),
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
