"""Tables and plots of the studies of a recipe."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks.markdown import table
from benchmarks.spread import show
from jaxrnn.files import replacing
from jaxrnn.training import format_duration

Result = dict[str, Any]

# Accuracy on all 25,000 test reviews of IMDB, with its source; the first trained on 25,000, the second on 17,500.
PUBLISHED = {
    "NBSVM, bigrams (Wang & Manning 2012, aclanthology.org/P12-2018)": 0.9122,
    "LSTM (github.com/bentrevett/pytorch-sentiment-analysis, 2)": 0.8528,
}


class View(NamedTuple):
    """How a study is shown."""

    table: Callable[[Result], list[str]]
    draw: Callable[[Result, Path], None]


def ablation_table(result: Result) -> list[str]:
    """Lines in Markdown: validation accuracy of each variant, and its gain over the recipe."""
    rows = [
        [
            row["name"],
            f"{show(row['validation_accuracy'], scale=100)} %",
            show(row["validation_accuracy_gained"], scale=100, sign=True) if row["changes"] else "",
            show(row["validation_loss"], digits=4),
            format_duration(row["seconds_training"]["mean"]),
        ]
        for row in result["rows"]
    ]
    count = result["examples"]["validation"]
    accuracy = result["rows"][0]["validation_accuracy"]["mean"]
    error = 100 * (accuracy * (1 - accuracy) / count) ** 0.5
    return [
        *table(["", "validation accuracy", "points gained", "validation loss", "training"], rows),
        f"{_seeds(result)} The recipe's accuracy on {count:,} reviews has a standard error of {error:.2f} points.",
    ]


def learning_curve_table(result: Result) -> list[str]:
    """Lines in Markdown: accuracies by the number of training reviews."""
    rows = [
        [
            f"{row['train_examples']:,}",
            f"{show(row['test_accuracy'], scale=100)} %",
            show(row["test_loss"], digits=4),
            f"{show(row['validation_accuracy'], scale=100)} %",
            format_duration(row["seconds_training"]["mean"]),
        ]
        for row in _by_size(result)
    ]
    head = ["training reviews", "test accuracy", "test loss", "validation accuracy", "training"]
    return [*table(head, rows), f"{_seeds(result)} {result['examples']['test']:,} test reviews."]


def draw_ablation(result: Result, file: Path) -> None:
    """Draws the gain of each variant over the recipe into a PNG file."""
    rows = [row for row in result["rows"] if row["changes"]]
    gained = [row["validation_accuracy_gained"] for row in rows]
    figure = Figure(figsize=(9, 1.2 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh([row["name"] for row in rows], [100 * each["mean"] for each in gained], xerr=_errors(gained), capsize=3)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="validation accuracy against the recipe's (points)")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, file)


def draw_learning_curve(result: Result, file: Path) -> None:
    """Draws test accuracy against the number of training reviews, into a PNG file."""
    rows = _by_size(result)
    sizes = [row["train_examples"] for row in rows]
    accuracies = [row["test_accuracy"] for row in rows]
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        sizes,
        [100 * each["mean"] for each in accuracies],
        yerr=_errors(accuracies),
        fmt="o-",
        capsize=3,
        label="this recipe",
    )
    for k, (name, accuracy) in enumerate(PUBLISHED.items(), start=1):
        axes.axhline(100 * accuracy, color=f"C{k}", linestyle="--", linewidth=1, label=name)
    axes.set(xlabel="training reviews", ylabel="test accuracy (%)", xscale="log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, file)


VIEWS = {
    "ablation": View(ablation_table, draw_ablation),
    "learning_curve": View(learning_curve_table, draw_learning_curve),
}


def _by_size(result: Result) -> list[Result]:
    return sorted(result["rows"], key=lambda row: row["train_examples"])


def _errors(rows: list[Result]) -> list[float]:
    """Half the lengths of error bars, in percent; of one seed there is none."""
    return [math.nan if row["standard_deviation"] is None else 100 * row["standard_deviation"] for row in rows]


def _seeds(result: Result) -> str:
    count = len(result["rows"][0]["seeds"])
    return "One seed." if count == 1 else f"{count} seeds: mean ± standard deviation."


def _save(figure: Figure, file: Path) -> None:
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
