"""Time of several functions that take turns, so that what else the machine does falls on all alike."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def interleaved(functions: dict[str, Callable[[], Any]], *, seconds: float, min_turns: int = 5) -> dict[str, dict]:
    """Runs each function once a turn, after one turn to warm up.

    Args:
      functions: by name; each returns when its work is done.
      seconds: turns go on until this much time has passed.
      min_turns: and at least this many were made, or two for a function that takes longer than all the time.

    Returns:
      By name: `median`, `min`, `max` in seconds, and `turns`, all of them.
    """
    taken: dict[str, list[float]] = {name: [] for name in functions}
    warmup = {name: _time(function) for name, function in functions.items()}
    start = time.perf_counter()
    turn = 0
    while turn < min_turns or time.perf_counter() - start < seconds:
        for name, function in functions.items():
            if turn < 2 or warmup[name] < seconds:
                taken[name].append(_time(function))
        turn += 1
    return {
        name: {"median": statistics.median(each), "min": min(each), "max": max(each), "turns": each}
        for name, each in taken.items()
    }


def _time(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
