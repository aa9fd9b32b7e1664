"""Time of several functions that take turns, so that what else the machine does falls on all alike.

In a turn each is called twice, and the second call counts. On the first falls what another library left behind in
memory and caches, which nobody meets in a loop of such calls (2 Zen 4 cores: up to 20 % of our forward pass after
PyTorch's).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Summary = dict[str, Any]  # median, low and high (the quartiles), and the turns themselves

WARM_UP_CALLS, WARM_UP_SECONDS = 3, 1.0  # a GPU's command buffers are recorded on the second call
MAX_TURNS = 100


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call; the function returns when its work is done."""
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
    """Times every function once a turn, in another order each turn, after warming up.

    Args:
      functions: by name; each returns when its work is done.
      seconds: turns go on until this much time has passed.
      min_turns: and at least this many were made. A function that takes longer than `seconds` by itself sits out after
        the second turn.
      first: seconds of a call that was made before, by name. What is slow by it is not warmed up again, and called
        once a turn.

    Returns:
      By name: the seconds of each turn, from the first on.
    """
    slow = {name for name, taken in (first or {}).items() if taken > max(seconds, WARM_UP_SECONDS)}
    slow |= {name for name, function in functions.items() if name not in slow and _warm_up(function) > seconds}
    taken: dict[str, list[float]] = {name: [] for name in functions}
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for turn in range(MAX_TURNS):
        if turn >= min_turns and time.perf_counter() - start > seconds:
            break
        present = [name for name in functions if turn < 2 or name not in slow]
        for k in rng.permutation(len(present)):
            if present[k] not in slow:
                functions[present[k]]()
            taken[present[k]].append(timed(functions[present[k]]))
    return taken


def _warm_up(function: Callable[[], Any]) -> float:
    """Calls it a few times, a slow one once; the seconds of the last call."""
    taken: list[float] = []
    while len(taken) < WARM_UP_CALLS and sum(taken) < WARM_UP_SECONDS:
        taken.append(timed(function))
    return taken[-1]


def summary(values: Sequence[float]) -> Summary:
    """Median and quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high), "turns": list(values)}


def compared(taken: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Summary]]:
    """Seconds of all, and how many times the first's time each takes: of each turn, the ratio, of these the median."""
    first = next(iter(taken.values()))
    ratios = {
        name: [theirs / ours for theirs, ours in zip(turns, first, strict=False)]  # a slow one has fewer turns
        for name, turns in list(taken.items())[1:]
    }
    return {
        "seconds": {name: summary(turns) for name, turns in taken.items()},
        "ratios": {name: summary(values) for name, values in ratios.items()},
    }
