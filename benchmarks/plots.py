"""Draws plots of a result as PNG files."""

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from benchmarks.targets import PASSES

Result = dict[str, Any]


def draw_all(result: Result, folder: Path) -> list[str]:
    """Draws the parts that the result has; returns the names of the files."""
    parts = result["parts"]
    names = []
    if "layer" in parts:
        names.append(_layer(parts["layer"], folder))
    if "growth" in parts:
        names.append(_growth(parts["growth"], folder))
    return names


def _layer(rows: list[Result], folder: Path) -> str:
    """Draws the ratio of each library's time to ours, by case."""
    peers = list(
        dict.fromkeys(name for row in rows for timings in row["passes"].values() for name in timings["ratios"])
    )
    figure, axes = plt.subplots(1, len(PASSES), figsize=(13, 1.5 + 0.6 * len(rows)), sharey=True, squeeze=False)
    for axis, (key, title) in zip(axes[0], PASSES.items(), strict=True):
        for k, name in enumerate(peers):
            at, values, spread = [], [], []
            for n, row in enumerate(rows):
                ratio = row["passes"].get(key, {"ratios": {}})["ratios"].get(name)
                if ratio is not None:
                    at.append(n + 0.8 * k / len(peers))
                    values.append(ratio["median"])
                    spread.append((ratio["median"] - ratio["low"], ratio["high"] - ratio["median"]))
            if at:
                axis.barh(at, values, height=0.8 / len(peers), xerr=list(zip(*spread, strict=True)), label=name)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_xlabel(f"{title}: times our time")
    axes[0, 0].set_yticks([n + 0.3 for n in range(len(rows))], [row["name"] for row in rows], fontsize=8)
    axes[0, 0].invert_yaxis()
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(fontsize=8)
    return _save(figure, folder, "layer.png")


def _growth(rows: list[Result], folder: Path) -> str:
    """Draws time over each axis, and memory below it."""
    figure, axes = plt.subplots(2, len(rows), figsize=(3.2 * len(rows), 5.5), squeeze=False)
    for k, row in enumerate(rows):
        for peer, growth in row["peers"].items():
            x = [point["x"] for point in growth["points"]]
            axes[0, k].loglog(x, [point["seconds"]["median"] for point in growth["points"]], "o-", label=peer)
            mib = [point["mib"] for point in growth["points"]]
            if all(value is not None for value in mib):
                axes[1, k].plot(x, mib, "o-")
        axes[1, k].set_xlabel("valid share" if row["axis"] == "lengths" else row["axis"])
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("MiB")
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(fontsize=8)
    return _save(figure, folder, "growth.png")


def _save(figure: Any, folder: Path, name: str) -> str:
    figure.tight_layout()
    figure.savefig(folder / name, dpi=110)
    plt.close(figure)
    return name
