"""Measures how time and memory grow with T, B, H, the number of layers and the fraction of padding."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.layer import PASSES, make_runners
from benchmarks.memory import peak_mib
from benchmarks.timing import in_turns, summary

BASE = Case(batch=16, time=256, features=64, hidden=128, layers=1, directions=1)
SWEEPS: dict[str, tuple[Any, ...]] = {
    "time": (256, 1024, 4096, 16_384),
    "batch": (4, 16, 64, 256),
    "hidden": (64, 128, 256, 512),
    "layers": (1, 2, 4, 8),
    "lengths": ("0.1", "0.25", "0.5", "0.75", "full"),
}
KINDS = ("full", "bucketed", "uniform", "imdb")


def measure(
    axis: str,
    *,
    base: Case = BASE,
    values: Sequence[Any] | None = None,
    peers: Sequence[str] = ("jaxrnn",),
    seconds: float,
    with_memory: bool = True,
) -> dict[str, Any]:
    """Measures the forward pass with all gradients while one quantity grows. All values take turns.

    Args:
      axis: The field of `Case` that grows; for "lengths" the fraction of valid steps grows.
      base: The other fields.
      values: The values of the field. None: those of `SWEEPS`.
      peers: The names of the libraries.
      seconds: The time limit for the turns.
      with_memory: Whether the peak memory is measured too, each in its own process.

    Returns:
      For each library the points {"x", "seconds", "mib"}, and the exponents of time and memory over x.
    """
    cases = [base._replace(**{axis: value}) for value in values or SWEEPS[axis]]
    grown = [case.valid_share if axis == "lengths" else getattr(case, axis) for case in cases]
    made = [make_runners(case, peers) for case in cases]
    absent = made[0][1]
    functions = {
        f"{peer}, {x}": runners[peer].train for x, (runners, _) in zip(grown, made, strict=True) for peer in runners
    }
    timings = in_turns(functions, seconds=seconds)
    rows = {}
    for peer in made[0][0]:
        points = [
            {
                "x": x,
                "seconds": summary(timings[f"{peer}, {x}"]),
                "mib": peak_mib(case, peer, "train") if with_memory else None,
            }
            for x, case in zip(grown, cases, strict=True)
        ]
        rows[peer] = {"points": points, "exponents": exponents(points)}
    return {"axis": axis, "base": base._asdict(), "peers": rows, "absent": absent}


def exponents(points: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Fits the exponents of time and memory by least squares on logarithms; None where a value was not measured."""
    x = [point["x"] for point in points]
    columns = {"seconds": [point["seconds"]["median"] for point in points], "mib": [point["mib"] for point in points]}
    return {name: fit(x, y) if all(v is not None and v > 0 for v in y) else None for name, y in columns.items()}


def fit(x: Sequence[float], y: Sequence[float]) -> float:
    """Returns the exponent p of y = c·x^p."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure_padding(case: Case, *, kinds: Sequence[str] = KINDS, seconds: float) -> dict[str, Any]:
    """Measures the cost of padding: our layer's time over (its time with full rows times the fraction of valid steps).

    A layer that spends no time on padding has the value 1.

    Args:
      case: The layer.
      kinds: The values of `Case.lengths`, "full" among them.
      seconds: The time limit for the turns of one pass.
    """
    cases = {kind: case._replace(lengths=kind) for kind in kinds}
    runners = {kind: make_runners(with_kind, ["jaxrnn"])[0]["jaxrnn"] for kind, with_kind in cases.items()}
    passes = {}
    for name in PASSES:
        timings = in_turns({kind: getattr(runner, name) for kind, runner in runners.items()}, seconds=seconds)
        passes[name] = {
            kind: summary(
                [t / (full * cases[kind].valid_share) for t, full in zip(turns, timings["full"], strict=False)]
            )
            for kind, turns in timings.items()
        }
    shares = {kind: with_kind.valid_share for kind, with_kind in cases.items()}
    return {"case": case._asdict(), "valid_share": shares, "passes": passes}
