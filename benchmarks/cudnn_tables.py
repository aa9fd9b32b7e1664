"""Our layer against cuDNN, cell by cell: how many times as fast, and microseconds a step beside the model's floor."""

from typing import Any

from benchmarks.cases import Case
from benchmarks.markdown import table
from benchmarks.targets import PASSES

Result = dict[str, Any]

# The model: each step waits for the one before, which costs at least what a cluster of thread blocks needs to exchange
# its hidden state on an H100, 920 clocks at 1.75 GHz by published latencies, or the step's operations at the machine's
# own rate of large products if that is more; both directions at once.
EXCHANGE_SECONDS = 0.5e-6


def cudnn_section(rows: list[Result], result: Result) -> list[str]:
    """A table for each pass, and under it what is slower than PyTorch, and where another backend would be faster."""
    lines = [
        "## Against cuDNN",
        "",
        f"Float32 products are {result['precision']} on both sides. Microseconds a step: time ÷ (T · layers), both "
        "directions together, projections included, backward steps counted with forward ones. × cuDNN: PyTorch's time "
        "over ours, of full rows padded, else packed (the same function). Floor: 0.5 µs a step, or its operations at "
        "the rate of large products.",
        "",
    ]
    for key, title in PASSES.items():
        lines += [f"### {title.capitalize()}, against cuDNN", ""]
        measured = [row for row in rows if key in row["passes"] and "jaxrnn" in row["passes"][key]["seconds"]]
        head = ("case", "backend", "ours, µs", "× cuDNN", "floor, µs", "fastest of ours", "its µs", "× cuDNN")
        lines += table(head, (_row(row, key, result) for row in measured))
        ratios = {row["name"]: _times(row, key, "jaxrnn") for row in measured}
        below = [name for name, ratio in ratios.items() if ratio is not None and ratio < 1]
        compared = sum(ratio is not None for ratio in ratios.values())
        lines += [f"Slower than cuDNN in {len(below)} of {compared}{': ' * bool(below)}{'; '.join(below)}.", ""]
        missed = [f"{row['name']}: {_fastest(row, key)}" for row in measured if _loss(row, key) > 1.05]
        lines += [
            f"Not within 5 % of our fastest backend in {len(missed)}{': ' * bool(missed)}{'; '.join(missed)}.",
            "",
        ]
    return lines


def step_floor(case: Case, key: str, rate: float) -> float:
    """Seconds a step that the model allows at least, in a pass."""
    steps = case.time * case.layers
    passes = 1 if key == "forward" else 2  # of dependent steps; the operations of backward are twice those of forward
    flops = case.forward_flops * (1 if key == "forward" else 3)
    return max(passes * EXCHANGE_SECONDS, flops / rate / steps)


def _row(row: Result, key: str, result: Result) -> list[str]:
    case = Case(**row["case"])
    best = _fastest(row, key)
    floor = step_floor(case, key, result["matrix_rates"][case.dtype])
    return [
        row["name"],
        row["backend"],
        _microseconds(row, key, "jaxrnn"),
        _ratio(_times(row, key, "jaxrnn")),
        f"{1e6 * floor:.2f}",
        best.removeprefix("jaxrnn").strip() or row["backend"],
        _microseconds(row, key, best),
        _ratio(_times(row, key, best)),
    ]


def _median(row: Result, key: str, peer: str) -> float | None:
    found = row["passes"][key]["seconds"].get(peer)
    return None if found is None else found["median"]


def _fastest(row: Result, key: str) -> str:
    seconds = row["passes"][key]["seconds"]
    return min((name for name in seconds if name.startswith("jaxrnn")), key=lambda name: seconds[name]["median"])


def _loss(row: Result, key: str) -> float:
    ours, best = (row["passes"][key]["seconds"][name]["median"] for name in ("jaxrnn", _fastest(row, key)))
    return ours / best


def _times(row: Result, key: str, peer: str) -> float | None:
    theirs = _median(row, key, "PyTorch padded" if row["case"]["lengths"] == "full" else "PyTorch packed")
    ours = _median(row, key, peer)
    return None if theirs is None or ours is None else theirs / ours


def _microseconds(row: Result, key: str, peer: str) -> str:
    median = _median(row, key, peer)
    return "" if median is None else f"{1e6 * median / (row['case']['time'] * row['case']['layers']):.2f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
