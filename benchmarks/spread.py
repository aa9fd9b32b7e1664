"""Mean and standard deviation of what several seeds gave."""

import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation of a sample (None: there is one value), and the values themselves."""
    return {
        "mean": statistics.mean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }


def show(row: dict[str, Any], *, scale: float = 1, digits: int = 2, sign: bool = False) -> str:
    """Mean ± standard deviation, both times `scale`."""
    mean = f"{scale * row['mean']:{'+' if sign else ''}.{digits}f}"
    deviation = row["standard_deviation"]
    return mean if deviation is None else f"{mean} ± {scale * deviation:.{digits}f}"
