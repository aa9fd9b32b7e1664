"""A backend tried before it is measured, in a process of its own.

A kernel that waits for ever, or faults, takes down the process that runs it, and with it every measurement to come. So
one that no GPU may have run before computes a small layer elsewhere first.

    python -m benchmarks.trial BACKEND
"""

import os
import subprocess
import sys
from functools import lru_cache

import jax
import jax.numpy as jnp

from benchmarks import candidates
from jaxrnn import core

SECONDS = 120.0
TOLERANCE = 2e-2  # of the largest magnitude, for bfloat16 products


@lru_cache
def why_it_fails(backend: str, *, seconds: float = SECONDS) -> str | None:
    """What became of the trial, where it did not end well; None: the backend may be run here."""
    environment = os.environ | {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # this process has most of the GPU's memory
        "JAX_TRACEBACK_FILTERING": "off",  # the last line is the error
    }
    command = [sys.executable, "-m", "benchmarks.trial", backend]
    try:
        done = subprocess.run(command, env=environment, timeout=seconds, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return f"a small layer did not end within {seconds:.0f} s"
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else f"a small layer failed: {lines[-1] if lines else done.returncode}"


def run(backend: str) -> None:
    """Both directions of an LSTM and a GRU, forward and backward, of rows with different lengths.

    Raises:
      ValueError: the backend computes other numbers than the reference.
    """
    candidates.register_all()
    keys = iter(jax.random.split(jax.random.key(0), 12))

    def draw(*shape: int, dtype: str = "bfloat16") -> jax.Array:
        return (jax.random.normal(next(keys), shape) / 8).astype(dtype)

    x, lengths = draw(20, 33, 64, dtype="float32"), jnp.arange(33) % 21
    lstm = [core.LSTMParams(draw(64, 4, 64), draw(64, 4, 64), draw(4, 64)) for _ in range(2)]
    gru = [core.GRUParams(draw(64, 3, 64), draw(64, 3, 64), draw(3, 64), draw(64)) for _ in range(1)]
    for cell, params in ((core.lstm_cell(), lstm), (core.gru_cell(True), gru)):

        def loss(params: list, name: str, cell: core.Cell = cell) -> jax.Array:
            y, _ = core.unroll_layers(cell, x, [params], lengths=lengths, backend=name)
            return (y**2).sum()

        found, expected = (jax.jit(jax.grad(loss), static_argnums=1)(params, name) for name in (backend, "reference"))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            a, b = a.astype("float32"), b.astype("float32")
            difference = float(jnp.abs(a - b).max() / jnp.abs(b).max())
            if not difference <= TOLERANCE:
                raise ValueError(f"{cell.name}: gradients differ by {difference:.2g} of their largest magnitude")


if __name__ == "__main__":
    run(sys.argv[1])
