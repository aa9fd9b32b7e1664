"""Computes and formats the mean and standard deviation over several seeds."""

import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Returns the mean, the sample standard deviation (None for a single value) and the values."""
    return {
        "mean": statistics.mean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }


def show(row: dict[str, Any], *, scale: float = 1, digits: int = 2, sign: bool = False) -> str:
    """Formats mean ± standard deviation, both multiplied by `scale`."""
    mean = f"{scale * row['mean']:{'+' if sign else ''}.{digits}f}"
    deviation = row["standard_deviation"]
    return mean if deviation is None else f"{mean} ± {scale * deviation:.{digits}f}"
