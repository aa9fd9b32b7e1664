"""The performance targets, and whether the measured values meet them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.cases import Case

REFERENCE = Case()
PASSES = {"forward": "forward", "train": "forward + backward"}
Result = dict[str, Any]


class Target(NamedTuple):
    """A bound on one measured number.

    Attributes:
      name: What is measured.
      bound: The bound.
      measured: The measured value; None if this run did not measure it.
      at_least: Whether the bound is a lower one; if not, it is an upper one.
      unit: The unit of both numbers.
    """

    name: str
    bound: float
    measured: float | None
    at_least: bool = True
    unit: str = "×"

    @property
    def verdict(self) -> str:
        """One of "met", "missed" and "not measured"."""
        if self.measured is None:
            return "not measured"
        return "met" if (self.measured >= self.bound) == self.at_least or self.measured == self.bound else "missed"


def targets(result: Result) -> list[Target]:
    """Returns all targets."""
    return [*_against_peers(result), *_limit(result), *_padding(result), *_application(result), *_options(result)]


def _against_peers(result: Result) -> Iterator[Target]:
    yield from _faster(result, "PyTorch packed", {"lengths": "bucketed"}, 1.2, 12.0)
    for dtype in ("float32", "bfloat16"):
        yield from _faster(result, "PyTorch padded", {"dtype": dtype}, 1.0, 1.0)
    for lengths in ("imdb", "uniform"):
        yield from _faster(result, "PyTorch padded", {"lengths": lengths}, 1.4, 1.4)
    for peer in ("flax.nnx.RNN", "Keras 3 on JAX", "plain lax.scan"):
        yield from _faster(result, peer, {}, 1.3, 1.5)


def _faster(result: Result, peer: str, changes: dict[str, Any], forward: float, train: float) -> Iterator[Target]:
    case = REFERENCE._replace(**changes)
    for (key, title), bound in zip(PASSES.items(), (forward, train), strict=True):
        measured = _first_value(lambda row, key=key: row["passes"][key]["ratios"][peer]["median"], _rows(result, case))
        yield Target(f"{peer}, {case.lengths}, {case.dtype}, {title}: its time over ours", bound, measured)


def _limit(result: Result) -> Iterator[Target]:
    rows = _rows(result, REFERENCE)
    for key, title in PASSES.items():
        measured = _first_value(lambda row, key=key: 100 * share_of_limit(result, row, key)["large"], rows)
        name = f"share of the matrix rate at {result['matrix_size']}³, full, float32, {title}"
        yield Target(name, 85, measured, unit="%")


def share_of_limit(result: Result, row: Result, key: str) -> dict[str, float]:
    """Returns our FLOP/s in a pass relative to those of large products, and to those of the same products alone."""
    seconds = row["passes"][key]["seconds"]["jaxrnn"]["median"]
    flops = row["forward_flops"] * (1 if key == "forward" else 3)
    shares = {"large": flops / seconds / result["matrix_rates"][row["case"]["dtype"]]}
    if (
        row["product_seconds"] is not None
    ):  # products of padded arrays, of which only the valid share counts as operations
        shares["same shapes"] = row["valid_share"] * row["product_seconds"][key] / seconds
    return shares


def _padding(result: Result) -> Iterator[Target]:
    full, uniform = (_rows(result, REFERENCE._replace(lengths=lengths)) for lengths in ("full", "uniform"))
    for key, title in PASSES.items():

        def cost(row: Result, key: str = key) -> float:
            ideal = full[0]["passes"][key]["seconds"]["jaxrnn"]["median"] * row["valid_share"]
            return row["passes"][key]["seconds"]["jaxrnn"]["median"] / ideal

        name = f"uniform lengths, {title}: time ÷ (full batch's time × share of valid steps)"
        yield Target(name, 1.3, _first_value(cost, uniform) if full else None, at_least=False)


def _application(result: Result) -> Iterator[Target]:
    rows = [row for row in result["parts"].get("application", []) if row["hidden"] == REFERENCE.hidden]
    for peer, bound in (("PyTorch packed", 12.0), ("PyTorch padded", 1.0)):
        measured = _first_value(lambda row, peer=peer: row["ratios"][peer]["median"], rows)
        yield Target(f"reference application, tokens per second over {peer}'s", bound, measured)
    measured = _first_value(lambda row: 100 * pipeline_share(row), rows)
    yield Target("reference application, the input pipeline's share of a step", 3, measured, at_least=False, unit="%")


def pipeline_share(row: Result) -> float:
    """Returns the time to build the batches over the time of their steps."""
    return row["ratios"]["the input pipeline alone"]["median"]


def _options(result: Result) -> Iterator[Target]:
    for name, row in result.get("options", {}).items():
        if name != "plain":
            ratio = row["compile_seconds"]["median"] / result["options"]["plain"]["compile_seconds"]["median"]
            yield Target(f"compile time of a step with {name}, over plain", 1.5, ratio, at_least=False)


def _rows(result: Result, case: Case) -> list[Result]:
    return [row for row in result["parts"].get("layer", []) if Case(**row["case"]) == case]


def _first_value(of: Callable[[Result], float], rows: list[Result]) -> float | None:
    """Returns the number of the first row that has it; None if there is none."""
    for row in rows:
        try:
            return of(row)
        except KeyError:
            continue
    return None
