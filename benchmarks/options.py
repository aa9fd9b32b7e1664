"""Measures what each option of the layer costs: the compile time and the time of a training step.

    python -m benchmarks.options --out FOLDER

Writes FOLDER/options.json, which the report of that folder includes. A step is the loss and all gradients, under jit,
of a 3-layer bidirectional LSTM with B 32, T 128, D 64, H 128 and lengths from 64 to 128. Every configuration is
compiled three times with cleared caches, and the steps take turns.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.cases import Case
from benchmarks.environment import command_line, environment
from benchmarks.timing import compared, in_turns, summary
from jaxrnn import nn

CASE = Case(batch=32, time=128, features=64, hidden=128, layers=3)
CONFIGURATIONS: dict[str, dict[str, Any]] = {
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


def training_step(case: Case, options: dict[str, Any]) -> tuple[Any, tuple]:
    """Returns a jitted function `(weights, key, x, lengths) -> (loss, gradients)` and its arguments."""
    layer = nn.LSTM(
        case.features,
        case.hidden,
        case.layers,
        bidirectional=case.directions == 2,
        init="torch",
        time_major=True,
        rngs=nnx.Rngs(0, dropout=1),
        **options,
    )
    layer.train()
    graph, weights, rest = nnx.split(layer, nnx.Param, ...)

    @jax.jit
    def step(weights: nnx.State, key: jax.Array, x: jax.Array, lengths: jax.Array) -> tuple:
        def loss(weights: nnx.State) -> jax.Array:
            y = nnx.merge(graph, weights, rest)(x, lengths=lengths, rngs=nnx.Rngs(dropout=key))[0]
            return jnp.square(y).mean()

        return jax.value_and_grad(loss)(weights)

    lengths = np.random.default_rng(0).integers(case.time // 2, case.time + 1, case.batch)
    x, _ = case.draw_inputs()
    return step, (weights, jax.random.key(0), jnp.asarray(x), jnp.asarray(lengths))


def measure(case: Case, names: Sequence[str], *, compilations: int = 3, seconds: float = 30) -> dict[str, Any]:
    """Measures configurations of the layer.

    Args:
      case: The shape of the layer.
      names: Keys of `CONFIGURATIONS`, "plain" first.
      compilations: How often each is compiled.
      seconds: The time limit for the turns.

    Returns:
      For each configuration the seconds of a compilation and of a step, and the ratio of a step to the plain one.
    """
    compile_seconds: dict[str, list[float]] = {name: [] for name in names}
    steps: dict[str, Callable[[], Any]] = {}
    for _ in range(compilations):  # in turns, so that other load on the machine affects all alike
        for name in names:
            jax.clear_caches()
            step, arguments = training_step(case, CONFIGURATIONS[name])
            start = time.perf_counter()
            compiled = step.lower(*arguments).compile()
            compile_seconds[name].append(time.perf_counter() - start)
            steps[name] = lambda compiled=compiled, arguments=arguments: jax.block_until_ready(compiled(*arguments))
    timings = compared(in_turns(steps, seconds=seconds))
    return {
        name: {
            "compile_seconds": summary(compile_seconds[name]),
            "step_seconds": timings["seconds"][name],
            "step_ratio": timings["ratios"].get(name),
        }
        for name in names
    }


def main(arguments: Sequence[str]) -> int:
    """Measures all configurations and writes the JSON; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder that receives options.json")
    folder = parser.parse_args(arguments).out
    folder.mkdir(parents=True, exist_ok=True)
    rows = measure(CASE, list(CONFIGURATIONS))
    result = {"environment": environment(command_line()), "case": CASE._asdict(), "rows": rows}
    (folder / "options.json").write_text(json.dumps(result, indent=1) + "\n")
    print(folder / "options.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
