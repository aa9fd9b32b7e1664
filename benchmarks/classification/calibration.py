"""Measures on the test split whether the probabilities of a run's seeds are calibrated.

    python -m benchmarks.classification.calibration RUN_DIR --data FOLDER --out FOLDER

RUN_DIR is a complete run of a classifier, of one seed or of several. Writes calibration.json and reliability.png, and
prints a table: accuracy, loss, expected calibration error in 15 bins of equal width and of equal mass, and Brier score,
as `jaxrnn.analysis` defines them. For models with a bag of words beside the network it also shows each of the two by
itself.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.classification.runs import run_dirs
from benchmarks.environment import command_line, environment
from benchmarks.markdown import table
from benchmarks.spread import show, spread
from jaxrnn.analysis import Reliability, brier_score, reliability
from jaxrnn.applications import Trained, load, load_config
from jaxrnn.applications.classification.task import class_probabilities
from jaxrnn.config import ArgumentParser, run
from jaxrnn.data import Examples
from jaxrnn.errors import InputError
from jaxrnn.files import replacing
from jaxrnn.training import RunFolder

# The answers of a model with a bag of words, and the parameters that each of them ends in.
BRANCHES = {"network alone": "head.", "bag of words alone": "bag."}
# What is measured: its name in the table, the factor it is shown with, and the number of digits.
MEASURED = {
    "accuracy": ("accuracy (%)", 100, 2),
    "loss": ("loss", 1, 4),
    "ece_equal_width": ("ECE, equal width (%)", 100, 2),
    "ece_equal_mass": ("ECE, equal mass (%)", 100, 2),
    "brier": ("Brier score", 1, 4),
}


def main(arguments: Sequence[str]) -> int:
    """Measures, and writes the result; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m benchmarks.classification.calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="data whose test split is taken")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder that receives the result")
    options = parser.parse_args(arguments)

    members = _members(options.run_dir)
    for member in members:
        if not RunFolder(member).result.exists():
            raise InputError(f"{member}: is not complete, and the test split is not looked at before")
    rows: dict[str, dict[str, Any]] = {}
    alone: dict[str, list[dict[str, Any]]] = {}
    num_examples = 0
    for member in members:
        trained = load(member)
        examples = trained.application.examples(trained.config, trained.assets, options.data, "test")
        num_examples = len(examples)
        rows[member.name] = measure(trained, examples)
        for name, branch in branches(trained).items():
            alone.setdefault(name, []).append(measure(branch, examples))
    result = {
        "environment": environment(command_line()),
        "num_examples": num_examples,
        "models": rows,
        "seeds": _spread(list(rows.values())),
        "branches": {name: _spread(each) for name, each in alone.items()},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "calibration.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, options.out / "reliability.png")
    print("\n".join(lines(result)))
    return 0


def branches(trained: Trained) -> dict[str, Trained]:
    """The network and the bag of words of a classifier that has both, each answering by itself."""
    parameters = trained.parameters
    if "bag.weight" not in parameters:
        return {}
    # The logits are the mean of both, so each alone has twice its weights, and the other has zeros.
    ends = {key: key.split(".")[0] + "." for key in parameters if key.startswith(tuple(BRANCHES.values()))}
    return {
        name: trained._replace(
            parameters=parameters | {key: (2 if of == kept else 0) * parameters[key] for key, of in ends.items()}
        )
        for name, kept in BRANCHES.items()
    }


def measure(trained: Trained, examples: Examples) -> dict[str, Any]:
    """The numbers of `MEASURED`, and the bins of equal mass, which are drawn."""
    evaluation = trained.evaluate(examples)
    metrics = trained.application.task(trained.config, trained.assets).measure(evaluation.sums)
    probabilities, labels = class_probabilities(np.stack(evaluation.outputs)), np.asarray(examples.columns["label"])
    by_width = reliability(probabilities, labels)
    by_mass = reliability(probabilities, labels, binning="equal mass")
    return {
        "accuracy": metrics["accuracy"],
        "loss": metrics["loss"],
        "ece_equal_width": by_width.expected_calibration_error,
        "ece_equal_mass": by_mass.expected_calibration_error,
        "brier": brier_score(probabilities, labels),
        "bins": _as_lists(by_mass),
    }


def draw(rows: dict[str, dict[str, Any]], file: Path) -> None:
    """Draws accuracy against confidence into a PNG file. Below the diagonal a model is too sure of itself."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    low = min(value for row in rows.values() for key in ("confidence", "accuracy") for value in row["bins"][key])
    axes.plot([low, 1], [low, 1], color="black", linestyle=":", linewidth=0.8)
    for name, row in rows.items():
        axes.plot(row["bins"]["confidence"], row["bins"]["accuracy"], "o-", markersize=4, label=name, alpha=0.7)
    axes.set(xlabel="confidence, in bins of equal numbers of reviews", ylabel="accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def lines(result: dict[str, Any]) -> list[str]:
    """Lines in Markdown: a row for each seed, then their mean and standard deviation, then those of each branch."""
    rows = {name: [_number(key, row[key]) for key in MEASURED] for name, row in result["models"].items()}
    if len(rows) > 1:
        rows["mean ± standard deviation"] = _shown(result["seeds"])
    rows |= {f"{name}, mean ± standard deviation": _shown(each) for name, each in result["branches"].items()}
    head = ["", *(name for name, _, _ in MEASURED.values())]
    return [*table(head, [[name, *row] for name, row in rows.items()]), f"{result['num_examples']:,} test examples."]


def _members(path: Path) -> list[Path]:
    """The folder of each seed's run; the folder itself if it holds no config."""
    config = RunFolder(path).config
    return run_dirs(path, load_config(config, [])) if config.exists() else [path]


def _spread(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {key: spread([row[key] for row in rows]) for key in MEASURED}


def _shown(of: dict[str, dict[str, Any]]) -> list[str]:
    return [show(of[key], scale=scale, digits=digits) for key, (_, scale, digits) in MEASURED.items()]


def _number(key: str, value: float) -> str:
    _, scale, digits = MEASURED[key]
    return f"{scale * value:.{digits}f}"


def _as_lists(bins: Reliability) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in bins._asdict().items()}


if __name__ == "__main__":
    run(main)
