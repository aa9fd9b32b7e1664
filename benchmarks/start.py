"""How long it takes to begin: importing, and the first step without and with the compilation cache."""

import subprocess
import sys
import tempfile
from typing import Any

IMPORT = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""
FIRST_STEP = """
import jax, time
jax.config.update("jax_compilation_cache_dir", {cache!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
from cases import Case
from peers import _jaxrnn
case = Case(time=64)
start = time.perf_counter()
_jaxrnn(None)(case).train()
print(time.perf_counter() - start)
"""


def measure(folder: str) -> dict[str, Any]:
    """Seconds, each in a process of its own. `folder`: where the benchmarks lie."""

    def run(code: str) -> float:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    imports = {name: run(IMPORT.format(module=name)) for name in ("jax", "jaxrnn.core", "jaxrnn.nn", "jaxrnn.train")}
    with tempfile.TemporaryDirectory() as cache:
        cold = run(FIRST_STEP.format(cache=cache))
        warm = run(FIRST_STEP.format(cache=cache))
    return {"import_seconds": imports, "first_step_seconds": {"cold": cold, "with compilation cache": warm}}
