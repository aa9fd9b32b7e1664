"""Measures the peak memory of one pass of one library beyond its weights and inputs, in a separate process.

`peak_mib` starts that process, which prints MiB, or null where the memory cannot be measured:

    python -m benchmarks.memory CASE_AS_JSON PEER PASS
"""

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import device
from benchmarks.cases import Case
from benchmarks.peers import PEERS

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ROOT = Path(__file__).parent.parent
MIB = 2**20


def peak_mib(case: Case, peer: str, name: str) -> float | None:
    """Returns the peak memory of a pass in MiB; None where the system does not report it.

    Args:
      case: The layer.
      peer: The name of a library in `PEERS`.
      name: The pass, "forward" or "train".
    """
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(case._asdict()), peer, name]
    variables = os.environ | {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false"
    }  # because the parent process has allocated memory too
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{case.name}, {peer}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(case: Case, peer: str, name: str) -> float | None:
    device.set_precision()
    run = getattr(PEERS[peer].make(case), name)
    if device.on_gpu():
        return _on_gpu(run, peer)
    try:
        ctypes.CDLL(None).malloc_trim(0)  # otherwise memory that compiling has freed would be used again unnoticed
        RESET.write_text("5")  # resets the peak
        before = _status("VmRSS")
        run()
        return (_status("VmHWM") - before) / 1024
    except (OSError, AttributeError):
        return None


def _on_gpu(run: Callable[[], Any], peer: str) -> float:
    if peer.startswith("PyTorch"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    import jax

    before = jax.devices()[0].memory_stats()["bytes_in_use"]
    run()
    return (jax.devices()[0].memory_stats()["peak_bytes_in_use"] - before) / MIB


def _status(name: str) -> int:
    """Reads a value in KiB from this process's status file."""
    match = re.search(rf"{name}:\s+(\d+)", STATUS.read_text())
    if match is None:
        raise OSError(f"{STATUS}: expected a line {name}")
    return int(match[1])


if __name__ == "__main__":
    print(json.dumps(_measure(Case(**json.loads(sys.argv[1])), *sys.argv[2:])))
