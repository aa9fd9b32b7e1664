"""Times several functions that take turns, so that other load on the machine affects all of them alike.

In a turn each function is called twice, and the second call is timed. The first call pays for the state in which
another library left memory and caches, which does not occur when one function is called in a loop (up to 20 % of our
forward pass after PyTorch's, on 2 Zen 4 cores).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Summary = dict[str, Any]  # "median", "low" and "high" (the quartiles), and "turns" (the values)

WARM_UP_CALLS, WARM_UP_SECONDS = 3, 1.0  # a GPU records its command buffers in the second call
MAX_TURNS = 100


def timed(function: Callable[[], Any]) -> float:
    """Returns the seconds of one call of a function that returns when its work is done."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turns(
    functions: Mapping[str, Callable[[], Any]],
    *,
    seconds: float,
    min_turns: int = 3,
    first: Mapping[str, float] | None = None,
) -> dict[str, list[float]]:
    """Warms up all functions and times each once per turn, in a different order in each turn.

    Args:
      functions: The functions, by name; each returns when its work is done.
      seconds: The time after which there are no further turns. A function that takes longer than this by itself takes
        part in the first two turns only, and is called once per turn.
      min_turns: The least number of turns.
      first: The seconds of an earlier call, by name. None: there was none. A function that was slow in it is not warmed
        up.

    Returns:
      The seconds of each turn in order, by name.
    """
    slow = {name for name, call_seconds in (first or {}).items() if call_seconds > max(seconds, WARM_UP_SECONDS)}
    slow |= {name for name, function in functions.items() if name not in slow and _warm_up(function) > seconds}
    timings: dict[str, list[float]] = {name: [] for name in functions}
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for turn in range(MAX_TURNS):
        if turn >= min_turns and time.perf_counter() - start > seconds:
            break
        present = [name for name in functions if turn < 2 or name not in slow]
        for k in rng.permutation(len(present)):
            if present[k] not in slow:
                functions[present[k]]()
            timings[present[k]].append(timed(functions[present[k]]))
    return timings


def _warm_up(function: Callable[[], Any]) -> float:
    """Calls a function a few times, or once if it is slow; returns the seconds of the last call."""
    seconds: list[float] = []
    while len(seconds) < WARM_UP_CALLS and sum(seconds) < WARM_UP_SECONDS:
        seconds.append(timed(function))
    return seconds[-1]


def summary(values: Sequence[float]) -> Summary:
    """Returns the median and the quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high), "turns": list(values)}


def compared(timings: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Summary]]:
    """Summarises the seconds of each function, and the ratios of its time to the first function's in each turn."""
    first = next(iter(timings.values()))
    ratios = {
        name: [theirs / ours for theirs, ours in zip(turns, first, strict=False)]  # a slow function has fewer turns
        for name, turns in list(timings.items())[1:]
    }
    return {
        "seconds": {name: summary(turns) for name, turns in timings.items()},
        "ratios": {name: summary(values) for name, values in ratios.items()},
    }
