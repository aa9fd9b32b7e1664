"""Measures the start: imports, the first step with and without JAX's compilation cache, and the compilations.

`measure` runs these commands:

    python -m benchmarks.start first-step CACHE_FOLDER TIME
    python -m benchmarks.start compilations NUM_REVIEWS
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODULES = ("jax", "flax.nnx", "jaxrnn.core", "jaxrnn.nn", "jaxrnn.train")
IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
COMPILED = "/jax/core/compile/backend_compile_duration"


def measure(*, repeats: int = 2, steps: int = 256, num_reviews: int = 17_497) -> dict[str, Any]:
    """Measures each part in its own process.

    Args:
      repeats: The number of processes for each import. The fastest counts, because the first one reads the disk.
      steps: T of the batch in the first step.
      num_reviews: The number of texts in the epoch whose compilations are counted.
    """
    imports = {name: min(_run("-c", IMPORT.format(name)) for _ in range(repeats)) for name in MODULES}
    with tempfile.TemporaryDirectory() as cache:
        first, cached = (_run("-m", "benchmarks.start", "first-step", cache, str(steps)) for _ in range(2))
    return {
        "import_seconds": imports,
        "first_step_seconds": {"cold": first, "with the compilation cache": cached},
        "epoch": _run("-m", "benchmarks.start", "compilations", str(num_reviews)),
    }


def _run(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def first_step(cache: str, steps: int) -> float:
    """Returns the seconds from the end of the imports to the end of the reference application's first step."""
    import jax

    from benchmarks.application import OurProgram, make_epoch

    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    epoch = make_epoch(data=None, sample=1, num_reviews=64, overrides=(f"data.max_tokens={steps}",))
    start = time.perf_counter()
    OurProgram(epoch).train(epoch.sample.epoch(0))
    return time.perf_counter() - start


def compilations(num_reviews: int) -> dict[str, int]:
    """Counts the compilations in the first two epochs, with a small model and batches of the real shapes."""
    import jax

    from benchmarks.application import OurProgram, make_epoch

    count = 0

    def listen(event: str, *_: Any, **__: Any) -> None:
        nonlocal count
        count += event == COMPILED

    narrow = ("model.hidden=2", "model.embedding=2", "model.num_layers=1", "model.bidirectional=false")
    epoch = make_epoch(data=None, sample=1, num_reviews=num_reviews, overrides=narrow)
    program = OurProgram(epoch)
    of_each_shape = {batch.time: batch for batch in epoch.batches}.values()
    jax.monitoring.register_event_duration_secs_listener(listen)
    counts = []
    for _ in range(2):
        before = count
        program.train(of_each_shape)
        counts.append(count - before)
    return {"shapes": len(of_each_shape), "first epoch": counts[0], "second epoch": counts[1]}


if __name__ == "__main__":
    if sys.argv[1] == "first-step":
        print(json.dumps(first_step(sys.argv[2], int(sys.argv[3]))))
    else:
        print(json.dumps(compilations(int(sys.argv[2]))))
