"""Peak memory of one pass of one library, in a process of its own: what lies beyond its weights and inputs.

python -m benchmarks.memory CASE PEER PASS    (CASE as JSON; prints MiB, or null where it cannot be measured)
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
    """MiB that the pass `name` ("forward" or "train") takes at its peak; None where the system does not tell."""
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(case._asdict()), peer, name]
    variables = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # beside a process that holds its part
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
        ctypes.CDLL(None).malloc_trim(0)  # what compiling left behind would be taken again unseen
        RESET.write_text("5")  # the peak starts anew from here
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
    """A line of the process's status, in KiB."""
    found = re.search(rf"{name}:\s+(\d+)", STATUS.read_text())
    if found is None:
        raise OSError(f"{STATUS}: expected a line {name}")
    return int(found[1])


if __name__ == "__main__":
    print(json.dumps(_measure(Case(**json.loads(sys.argv[1])), *sys.argv[2:])))
