"""Describes the machine and the software of a measurement, which is stored with its numbers."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

# Environment variables that influence the speed, by their names or the beginnings of their names.
VARIABLES = (
    "GLIBC_TUNABLES",
    "MALLOC_",
    "OMP_",
    "MKL_",
    "KMP_",
    "XLA_",
    "JAX_",
    "KERAS_",
    "TORCH_",
    "CUDA_",
    "LD_PRELOAD",
)


def command_line() -> str:
    """Returns the command of this process, `python -m benchmarks.NAME ...`, with PATH for each absolute path."""
    parts = Path(sys.argv[0]).with_suffix("").parts
    module = ".".join(parts[parts.index("benchmarks") :] if "benchmarks" in parts else ("benchmarks", parts[-1]))
    words = [re.sub(r"(^|=)/.*", r"\1PATH", word) for word in sys.argv[1:]]
    return " ".join([f"python -m {module}", *words])


def environment(command: str) -> dict[str, Any]:
    """Returns command, date, commit, device, threads, environment variables and versions."""
    versions = {}
    for name in ("jax", "jaxlib", "flax", "numpy", "torch", "keras", "optax"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": versions | _cuda_versions(),
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
    }


def _threads() -> dict[str, int]:
    """Returns the cores that this process may use, and the threads of PyTorch if it is imported."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch = sys.modules.get("torch")
    return {"usable cores": usable} | ({"PyTorch": torch.get_num_threads()} if torch else {})


def _commit() -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _cuda_versions() -> dict[str, str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"CUDA": torch.version.cuda, "cuDNN": str(torch.backends.cudnn.version())}
