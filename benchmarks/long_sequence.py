"""Measures memory and time of the gradient over a long sequence, at once and in chunks that are recomputed.

    python -m benchmarks.long_sequence [--out FILE.json]

Loss and all gradients of a GRU with H 64 over T 100,000 steps of B 4, D 16. Each variant runs in its own process and is
measured by that process's peak resident memory, less that of a process that only creates the inputs.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BATCH, TIME, FEATURES, HIDDEN = 4, 100_000, 16, 64
CHUNKS = {"inputs only": 0, "whole": None, "chunks of 1000": 1000, "chunks of 316": 316, "chunks of 100": 100}


def measure(chunk: int | None) -> dict[str, float]:
    """Measures the seconds of the second gradient and the peak memory of this process in MiB.

    Args:
      chunk: The number of steps in a chunk. None: the sequence is not divided. 0: only the inputs are created.
    """
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from jaxrnn import nn

    gru = nn.GRU(FEATURES, HIDDEN, time_major=True, remat_chunk=chunk or None, init="torch", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (TIME, BATCH, FEATURES))
    graph, weights = nnx.split(gru)

    @jax.jit
    def gradient(weights: nnx.State, x: jax.Array) -> tuple:
        return jax.value_and_grad(lambda weights: jnp.square(nnx.merge(graph, weights)(x)[0]).mean())(weights)

    seconds = 0.0
    for _ in range(0 if chunk == 0 else 2):
        start = time.perf_counter()
        jax.block_until_ready(gradient(weights, x))
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Measures each variant in its own process, prints a table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results" / "long_sequence.json",
        metavar="FILE",
        help="JSON file to write; default: benchmarks/results/long_sequence.json",
    )
    parser.add_argument("--only", choices=CHUNKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(CHUNKS[arguments.only])))
        return
    rows = {}
    for name in CHUNKS:
        command = [sys.executable, "-m", "benchmarks.long_sequence", "--only", name]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        rows[name] = json.loads(done.stdout.splitlines()[-1])
    base = rows["inputs only"]["peak_mib"]
    print("| | memory over the inputs' | time |\n|---|---|---|")
    for name, row in list(rows.items())[1:]:
        print(f"| {name} | {row['peak_mib'] - base:.0f} MiB | {row['seconds']:.1f} s |")

    from benchmarks.environment import environment

    result = {**environment("python -m benchmarks.long_sequence"), "rows": rows}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
