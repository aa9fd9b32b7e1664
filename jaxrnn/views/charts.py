"""The report's charts as SVG that takes its colours and fonts from the page, so that it follows light and dark."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

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


class Curve(NamedTuple):
    """A number that is drawn against steps: its name in metrics.jsonl, its unit ("%" for a share), and its axis."""

    name: str
    unit: str = ""
    log_scale: bool = False


def draw_learning(records: Sequence[Mapping[str, Any]], curve: Curve, *, best_step: int | None) -> Markup:
    """A number of the training and validation records against steps.

    Args:
      records: The lines of metrics.jsonl.
      curve: What is drawn of them.
      best_step: The step whose weights are kept; None while there is none.
    """

    def draw(axes: Axes) -> None:
        for split, style in {
            "train": {"color": FIRST, "linewidth": 1.4},
            "validation": {"color": SECOND, "linewidth": 1.4, "marker": "o", "markersize": 4},
        }.items():
            drawn = [each for each in records if each["split"] == split and curve.name in each]
            points = [(each["step"], each[curve.name]) for each in drawn]
            axes.plot([step for step, _ in points], [value for _, value in points], label=split, **style)
        if best_step is not None:
            axes.axvline(best_step, color=INK, linewidth=0.8, linestyle=":", label="kept")
        label = curve.unit if curve.unit not in ("", "%") else None
        axes.set(xlabel="step", ylabel=label, yscale="log" if curve.log_scale else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if curve.unit == "%":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.legend()

    return draw_chart(f"{curve.name.capitalize()} against steps, in training and in validation", draw)


def draw_chart(description: str, draw: Callable[[Axes], None]) -> Markup:
    """A chart as an SVG element in the page's colours.

    Args:
      description: What it shows, for readers who do not see it.
      draw: Draws it, in the colours of this module.
    """
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
