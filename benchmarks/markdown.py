"""Formats tables and numbers as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table and an empty line after it."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def duration(row: Mapping[str, Any]) -> str:
    """Formats a summary of seconds: the median, and the quartiles in brackets."""
    if row["median"] >= 1:
        return f"{row['median']:.2f} s [{row['low']:.2f}-{row['high']:.2f}]"
    milli = {name: 1000 * row[name] for name in ("median", "low", "high")}
    digits = 2 if milli["median"] < 1 else 1 if milli["median"] < 100 else 0
    return "{median:.{d}f} ms [{low:.{d}f}-{high:.{d}f}]".format(d=digits, **milli)


def times(row: Mapping[str, Any]) -> str:
    """Formats a summary of ratios: the median, and the quartiles in brackets."""
    return f"{row['median']:.2f} [{row['low']:.2f}-{row['high']:.2f}]"
