"""How time and memory grow with T, B, H, the layers, and the share of padding."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from cases import Case
from peers import PEERS
from timing import interleaved

BASE = Case(batch=16, time=256, features=64, hidden=128, layers=1, directions=1)
SWEEPS: dict[str, tuple[int, ...]] = {
    "time": (256, 1024, 4096, 16_384),
    "batch": (4, 16, 64, 256),
    "hidden": (64, 128, 256, 512),
    "layers": (1, 2, 4),
}


def measure(*, seconds: float, peers: Iterable[str] = ("jaxrnn",)) -> dict[str, Any]:
    """For each sweep: seconds of forward + backward and peak MiB at each value, and the fitted exponents."""
    result: dict[str, Any] = {}
    make = {peer.name: peer.make for peer in PEERS}
    for axis, values in SWEEPS.items():
        rows: dict[str, dict] = {name: {} for name in peers}
        for value in values:
            case = BASE._replace(**{axis: value})
            runners = {name: make[name](case) for name in peers}
            taken = interleaved({name: runner.train for name, runner in runners.items()}, seconds=seconds, min_turns=3)
            for name, row in taken.items():
                rows[name][value] = row["median"]
        memory = {value: peak_mib(BASE._replace(**{axis: value})) for value in values}
        result[axis] = {
            "seconds": rows,
            "peak_mib": memory,
            "exponent_of_time": {name: exponent(row) for name, row in rows.items()},
            "exponent_of_memory": exponent(memory),
        }
    return result


def exponent(points: dict[int, float]) -> float:
    """The slope of log y over log x, by the last two points: where constants matter least."""
    (x_0, y_0), (x_1, y_1) = sorted(points.items())[-2:]
    return float(np.log(y_1 / y_0) / np.log(x_1 / x_0))


def peak_mib(case: Case) -> float:
    """Peak resident memory of a process that takes one gradient, over that of one that only makes the inputs."""

    def peak(train: bool) -> float:
        command = [sys.executable, __file__, json.dumps(case._asdict()), "train" if train else "inputs"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])

    return peak(True) - peak(False)


if __name__ == "__main__":
    case = Case(**json.loads(sys.argv[1]))
    x, _ = case.draw_inputs()
    if sys.argv[2] == "train":
        PEERS[0].make(case).train()
    else:
        import jax

        jax.block_until_ready(jax.device_put(x))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
