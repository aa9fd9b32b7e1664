"""What each option of the layer costs: compile time and time of a training step, against the plain layer.

    python benchmarks/options.py [--out FILE.json]

A 3-layer bidirectional LSTM, B 32, T 128, D 64, H 128, lengths 64 to 128: loss and all gradients, under jit. Each
configuration is compiled three times, with the caches cleared; steps are timed in turns, so that what else the machine
does falls on all alike. The table has medians.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from environment import environment
from flax import nnx

from jaxrnn import nn

BATCH, TIME, FEATURES, HIDDEN = 32, 128, 64, 128
CONFIGURATIONS = {
    "plain": {},
    "projection": {"projection_features": 64},
    "peephole": {"peephole": True},
    "layer_norm": {"layer_norm": True},
    "residual": {"connections": "residual"},
    "dense": {"connections": "dense"},
    "double_bias": {"double_bias": True},
    "learn_state": {"learn_state": True},
    "dropout": {"dropout_rate": 0.3},
    "variational": {"dropout_rate": 0.3, "input_dropout_rate": 0.3, "variational_dropout": True},
    "recurrent_dropout": {"recurrent_dropout_rate": 0.3},
    "zoneout": {"zoneout_rate": 0.1},
    "weight_drop": {"weight_drop_rate": 0.3},
    "max_gradient": {"max_gradient": 1.0},
    "remat_chunk": {"remat_chunk": 16},
}


def training_step(options: dict) -> tuple:
    """A jitted `(weights, key, x, lengths) -> (loss, gradients)` and its arguments."""
    layer = nn.LSTM(FEATURES, HIDDEN, 3, bidirectional=True, init="torch", rngs=nnx.Rngs(0, dropout=1), **options)
    layer.train()
    graph, weights, rest = nnx.split(layer, nnx.Param, ...)

    @jax.jit
    def step(weights: nnx.State, key: jax.Array, x: jax.Array, lengths: jax.Array) -> tuple:
        def loss(weights: nnx.State) -> jax.Array:
            y, _ = nnx.merge(graph, weights, rest)(x, lengths=lengths, rngs=nnx.Rngs(dropout=key))
            return jnp.square(y).mean()

        return jax.value_and_grad(loss)(weights)

    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(BATCH, TIME, FEATURES)), jnp.float32)
    return step, (weights, jax.random.key(0), x, jnp.asarray(rng.integers(TIME // 2, TIME + 1, BATCH)))


def main() -> None:
    """Measures, prints a table, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "options.json")
    out = parser.parse_args().out
    compile_seconds: dict[str, list[float]] = {name: [] for name in CONFIGURATIONS}
    compiled = {}
    for _ in range(3):
        for name, options in CONFIGURATIONS.items():
            jax.clear_caches()
            step, arguments = training_step(options)
            start = time.perf_counter()
            compiled[name] = step.lower(*arguments).compile(), arguments
            compile_seconds[name].append(time.perf_counter() - start)
    step_seconds: dict[str, list[float]] = {name: [] for name in CONFIGURATIONS}
    for turn in range(8):
        for name, (step, arguments) in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(step(*arguments))
            if turn:  # the first turn warms up
                step_seconds[name].append(time.perf_counter() - start)
    rows = {
        name: {
            "compile_seconds": statistics.median(compile_seconds[name]),
            "step_seconds": statistics.median(step_seconds[name]),
            "all_compile_seconds": compile_seconds[name],
            "all_step_seconds": step_seconds[name],
        }
        for name in CONFIGURATIONS
    }
    plain = rows["plain"]
    print("| option | compile | × plain | step | × plain |\n|---|---|---|---|---|")
    for name, row in rows.items():
        ratios = [row[key] / plain[key] for key in ("compile_seconds", "step_seconds")]
        print(
            f"| {name} | {row['compile_seconds']:.2f} s | {ratios[0]:.2f} | "
            f"{1000 * row['step_seconds']:.0f} ms | {ratios[1]:.2f} |"
        )
    out.write_text(json.dumps({**environment("python benchmarks/options.py"), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
