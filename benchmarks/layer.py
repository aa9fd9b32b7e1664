"""Compares our layer with those of other libraries: checks outputs and gradients, then times them in turns."""

import importlib.util
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.agreement import WrongOutputError, check, difference
from benchmarks.cases import Case
from benchmarks.device import set_precision
from benchmarks.matrix import product_seconds
from benchmarks.peers import PEERS, VARIANTS, Runner
from benchmarks.peers.ours import chosen
from benchmarks.peers.runner import CannotServeError
from benchmarks.timing import compared, in_turns

PASSES = ("forward", "train")
NARROWEST = 1e-4  # the least relative change of the outputs that bfloat16 products cause


def measure(
    case: Case,
    *,
    peers: Iterable[str] = PEERS,
    passes: Iterable[str] = PASSES,
    seconds: float,
    with_products: bool = True,
) -> dict[str, Any]:
    """Measures one case.

    Args:
      case: The case.
      peers: The names of libraries in `PEERS` and `VARIANTS`, ours first.
      passes: The passes: "forward", "train" (forward and all gradients), or both.
      seconds: The time limit for the turns of one pass; a few turns are made in any case.
      with_products: Whether the matrix products alone are timed too.

    Returns:
      For each pass the seconds of each library and their ratios to ours, the compile times, the differences, the absent
      libraries with the reasons, and the seconds of the matrix products alone.

    Raises:
      WrongOutputError: A library computes other numbers.
    """
    runners, absent = make_runners(case, peers)
    differences, first = _check(case, runners, absent, passes)

    def timings(name: str) -> dict[str, Any]:
        functions = {peer: getattr(runner, name) for peer, runner in runners.items()}
        return compared(in_turns(functions, seconds=seconds, first=first[name]))

    return {
        "name": case.name,
        "case": case._asdict(),
        "backend": chosen(case).name,
        "valid_share": case.valid_share,
        "forward_flops": case.forward_flops,
        "passes": {name: timings(name) for name in passes},
        "product_seconds": product_seconds(case, seconds=seconds) if with_products else None,
        "compile_seconds": {peer: runner.compile_seconds for peer, runner in runners.items()},
        "differences": differences,
        "absent": absent,
    }


def make_runners(case: Case, peers: Iterable[str]) -> tuple[dict[str, Runner], dict[str, str]]:
    """Returns runners of the libraries that can serve the case, and for each of the others the reason why it cannot."""
    runners, absent = {}, {}
    for name in peers:
        peer = (PEERS | VARIANTS)[name]
        if peer.needs is not None and importlib.util.find_spec(peer.needs) is None:
            absent[name] = f"{peer.needs} is not installed"
            continue
        try:
            runners[name] = peer.make(case)
        except CannotServeError as reason:
            absent[name] = str(reason)
    return runners, absent


def _check(
    case: Case, runners: dict[str, Runner], absent: dict[str, str], passes: Iterable[str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Checks the numbers of all runners.

    Runners that compute in float32 although bfloat16 is asked for, and variants of ours that compute other numbers, are
    moved from `runners` to `absent`.

    Returns:
      The differences by library and pass, and the seconds of these first calls by pass and library.
    """
    precision = set_precision() if case.dtype == "float32" else case.dtype
    ours: dict[str, dict[str, np.ndarray]] = {}
    differences: dict[str, dict[str, float]] = {}
    seconds: dict[str, dict[str, float]] = {name: {} for name in PASSES}
    wide = _float32_outputs(case) if case.dtype == "bfloat16" else None
    for name, runner in list(runners.items()):
        y, seconds["forward"][name] = _timed(runner.forward)
        y = runner.outputs(y) * case.valid
        if wide is not None and difference(y, wide) < NARROWEST:
            absent[name] = "computes in float32 when asked for bfloat16"
            del runners[name]
            continue
        results = {"forward": {"outputs": y}}
        if "train" in passes:
            gradients, seconds["train"][name] = _timed(runner.train)
            results["train"] = runner.gradients(gradients)
        ours = ours or results
        if name == "PyTorch padded" and case.lengths != "full" and case.directions == 2:
            continue
        try:
            differences[name] = {
                key: check(f"{case.name}: {name}", results[key], ours[key], precision=precision) for key in results
            }
        except WrongOutputError as error:
            if name not in VARIANTS:
                raise
            absent[name] = str(error)  # a variant runs only if it is named, so the others are timed without it
            del runners[name]
    return differences, seconds


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def _float32_outputs(case: Case) -> np.ndarray:
    runner = PEERS["jaxrnn"].make(case._replace(dtype="float32"))
    return runner.outputs(runner.forward()) * case.valid
