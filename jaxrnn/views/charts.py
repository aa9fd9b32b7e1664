"""The report's charts as SVG that takes its colours and fonts from the page, so that it follows light and dark."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxrnn.analysis import AccuracyBin, Reliability, wilson_interval

# Matplotlib knows no CSS: it draws in these colours, which then become the page's.
INK, FAINT, FIRST, SECOND = "#010203", "#010204", "#010205", "#010206"
VARIABLES = {INK: "--muted", FAINT: "--line", FIRST: "--first", SECOND: "--second"}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.sans-serif": "DejaVu Sans",  # comes with matplotlib, which measures by it
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def draw_learning(records: Sequence[dict[str, Any]], key: str, *, best_step: int | None) -> Markup:
    """Loss or accuracy against steps.

    Args:
      records: of metrics.jsonl.
      key: "loss" or "accuracy".
      best_step: step whose weights are kept; None: there is none yet.
    """

    def draw(axes: Axes) -> None:
        for split, style in {
            "train": {"color": FIRST, "linewidth": 1.4},
            "validation": {"color": SECOND, "linewidth": 1.4, "marker": "o", "markersize": 4},
        }.items():
            points = [(record["step"], record[key]) for record in records if record["split"] == split]
            axes.plot([step for step, _ in points], [value for _, value in points], label=split, **style)
        if best_step is not None:
            axes.axvline(best_step, color=INK, linewidth=0.8, linestyle=":", label="kept")
        axes.set(xlabel="step", ylabel="nats" if key == "loss" else None)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if key == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.legend()

    return _chart(f"{key.capitalize()} against steps, in training and in validation", draw)


def draw_reliability(reliability: Reliability) -> Markup:
    """Accuracy against confidence; below the diagonal the model is too sure of itself."""

    def draw(axes: Axes) -> None:
        low = min(0.5, float(reliability.confidence.min()), float(reliability.accuracy.min()))
        axes.plot([low, 1], [low, 1], color=INK, linewidth=0.8, linestyle=":")
        share = reliability.num_examples / reliability.num_examples.sum()
        axes.scatter(reliability.confidence, reliability.accuracy, s=12 + 300 * share, color=FIRST, alpha=0.85, lw=0)
        axes.set(xlabel="confidence", ylabel="accuracy")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))

    return _chart("Accuracy against confidence", draw)


def draw_confidence(confidence: np.ndarray, right: np.ndarray) -> Markup:
    """How many answers were given with which confidence, right and wrong ones."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(min(0.5, confidence.min()), 1, 21)
        axes.hist(
            [confidence[~right], confidence[right]],
            bins=list(edges),
            stacked=True,
            color=[SECOND, FIRST],
            label=["wrong", "right"],
            rwidth=0.9,
        )
        axes.set(xlabel="confidence", ylabel="texts")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="upper left", reverse=True)

    return _chart("Number of answers by confidence, right and wrong", draw)


def draw_accuracy_by_length(bins: Sequence[AccuracyBin]) -> Markup:
    """Accuracy of bins of length, with 95 % intervals."""

    def draw(axes: Axes) -> None:
        centres = np.arange(len(bins))
        accuracy = np.array([each.accuracy for each in bins])
        intervals = np.array([wilson_interval(each.num_right, each.num_examples) for each in bins])
        around = np.abs(intervals.T - accuracy)
        axes.errorbar(centres, accuracy, around, fmt="o", color=FIRST, markersize=5, elinewidth=1.4)
        axes.set_xticks(centres, [_range(each) for each in bins], rotation=35, ha="right", rotation_mode="anchor")
        axes.set(xlabel="tokens")
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))

    return _chart("Accuracy by length, with 95 % intervals", draw)


def _range(each: AccuracyBin) -> str:
    return f"{each.shortest}" if each.shortest == each.longest else f"{each.shortest}–{each.longest}"


def _chart(description: str, draw: Callable[[Axes], None]) -> Markup:
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": description}):  # the salt makes names within the SVG its own
        figure = Figure(figsize=(5.2, 3.1), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True)
    return _themed(file.getvalue(), description)


def _themed(svg: str, description: str) -> Markup:
    """The bare `<svg>` element, in the page's colours and font; all of its text is numbers and our own words."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.S)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the same in every chart
    svg = re.sub(r"font-family: [^;\"]*;", "", svg)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-label="{description}">', svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return Markup(svg)
