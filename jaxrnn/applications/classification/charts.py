"""The charts of a classifier's report."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from jaxrnn.analysis import AccuracyBin, Reliability, wilson_interval
from jaxrnn.views import draw_chart
from jaxrnn.views.charts import FIRST, INK, SECOND


def draw_reliability(reliability: Reliability) -> Markup:
    """Accuracy against confidence. Below the diagonal the model is too sure of itself."""

    def draw(axes: Axes) -> None:
        low = min(0.5, float(reliability.confidence.min()), float(reliability.accuracy.min()))
        axes.plot([low, 1], [low, 1], color=INK, linewidth=0.8, linestyle=":")
        share = reliability.num_examples / reliability.num_examples.sum()
        axes.scatter(reliability.confidence, reliability.accuracy, s=12 + 300 * share, color=FIRST, alpha=0.85, lw=0)
        axes.set(xlabel="confidence", ylabel="accuracy")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))

    return draw_chart("Accuracy against confidence", draw)


def draw_confidence(confidence: np.ndarray, is_correct: np.ndarray) -> Markup:
    """A histogram of the confidence of correct and wrong answers, both `[num_examples]`."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(min(0.5, confidence.min()), 1, 21)
        axes.hist(
            [confidence[~is_correct], confidence[is_correct]],
            bins=list(edges),
            stacked=True,
            color=[SECOND, FIRST],
            label=["wrong", "correct"],
            rwidth=0.9,
        )
        axes.set(xlabel="confidence", ylabel="texts")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="upper left", reverse=True)

    return draw_chart("Number of answers by confidence, correct and wrong", draw)


def draw_accuracy_by_length(bins: Sequence[AccuracyBin]) -> Markup:
    """The accuracy of texts of similar length, with 95 % intervals."""

    def draw(axes: Axes) -> None:
        centres = np.arange(len(bins))
        accuracy = np.array([each.accuracy for each in bins])
        intervals = np.array([wilson_interval(each.num_right, each.num_examples) for each in bins])
        distances = np.abs(intervals.T - accuracy)
        axes.errorbar(centres, accuracy, distances, fmt="o", color=FIRST, markersize=5, elinewidth=1.4)
        axes.set_xticks(centres, [_range(each) for each in bins], rotation=35, ha="right", rotation_mode="anchor")
        axes.set(xlabel="tokens")
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))

    return draw_chart("Accuracy by length, with 95 % intervals", draw)


def _range(each: AccuracyBin) -> str:
    return f"{each.shortest}" if each.shortest == each.longest else f"{each.shortest}–{each.longest}"
