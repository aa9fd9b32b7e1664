"""How time and memory grow: with T, B, H, the layers, and the share of padding."""

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
    """Forward and all gradients while one thing grows; all values take turns.

    Args:
      axis: a field of `Case`; with "lengths" it is the share of valid steps that grows.
      base: everything else.
      values: of the axis; None means those of `SWEEPS`.
      peers: which libraries.
      seconds: that the turns may take.
      with_memory: also the peak memory, each in a process of its own.

    Returns:
      By peer, points {"x", "seconds", "mib"}, and the exponents of time and memory over x.
    """
    cases = [base._replace(**{axis: value}) for value in values or SWEEPS[axis]]
    grown = [case.valid_share if axis == "lengths" else getattr(case, axis) for case in cases]
    made = [make_runners(case, peers) for case in cases]
    absent = made[0][1]
    functions = {
        f"{peer}, {x}": runners[peer].train for x, (runners, _) in zip(grown, made, strict=True) for peer in runners
    }
    taken = in_turns(functions, seconds=seconds)
    rows = {}
    for peer in made[0][0]:
        points = [
            {
                "x": x,
                "seconds": summary(taken[f"{peer}, {x}"]),
                "mib": peak_mib(case, peer, "train") if with_memory else None,
            }
            for x, case in zip(grown, cases, strict=True)
        ]
        rows[peer] = {"points": points, "exponents": exponents(points)}
    return {"axis": axis, "base": base._asdict(), "peers": rows, "absent": absent}


def exponents(points: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Least squares on logarithms of time and memory over x; None where something was not measured."""
    x = [point["x"] for point in points]
    columns = {"seconds": [point["seconds"]["median"] for point in points], "mib": [point["mib"] for point in points]}
    return {name: fit(x, y) if all(v is not None and v > 0 for v in y) else None for name, y in columns.items()}


def fit(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent p of y = c·x^p."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure_padding(case: Case, *, kinds: Sequence[str] = KINDS, seconds: float) -> dict[str, Any]:
    """Our layer with other lengths, over what it takes when all rows are full, times the share of valid steps.

    1 would be a layer that spends nothing on padding.
    """
    cases = {kind: case._replace(lengths=kind) for kind in kinds}
    runners = {kind: make_runners(each, ["jaxrnn"])[0]["jaxrnn"] for kind, each in cases.items()}
    passes = {}
    for name in PASSES:
        taken = in_turns({kind: getattr(runner, name) for kind, runner in runners.items()}, seconds=seconds)
        passes[name] = {
            kind: summary([t / (full * cases[kind].valid_share) for t, full in zip(turns, taken["full"], strict=False)])
            for kind, turns in taken.items()
        }
    shares = {kind: each.valid_share for kind, each in cases.items()}
    return {"case": case._asdict(), "valid_share": shares, "passes": passes}
