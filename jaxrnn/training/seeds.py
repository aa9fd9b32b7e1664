"""A run of several seeds: a folder for each, the same data in all, and their mean and spread."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrnn.training import processes
from jaxrnn.training.run_folder import RunFolder


def seed_dirs(path: Path, seeds: Sequence[int]) -> dict[int, Path]:
    """The folder of each seed's run, in the folder of all."""
    return {seed: path / f"seed-{seed}" for seed in seeds}


def train_seeds(
    seeds: Sequence[int], folder: RunFolder, train: Callable[[int, Path], int], show: Callable[[str, float], str]
) -> int:
    """Trains one seed after the other, each in its own folder, which a later start skips or goes on with.

    Args:
      seeds: The seeds.
      folder: Receives their folders and `result.json`, which holds their mean and spread.
      train: Trains one seed in a folder, and returns the exit status.
      show: A number of the results as text, by its name.

    Returns:
      The exit status of the first run that did not come to its end, else 0.
    """
    folders = seed_dirs(folder.path, seeds)
    for number, (seed, path) in enumerate(folders.items(), start=1):
        print(f"seed {seed}, {number} of {len(seeds)}")
        if status := train(seed, path):
            return status
    if processes.is_first():
        results = {each.name: json.loads(RunFolder(each).result.read_text()) for each in folders.values()}
        summary = summarise(list(results.values()))
        folder.write_json(folder.result, {"seeds": list(seeds), **summary, "runs": results})
        print("\n".join(table(results, summary, show)))
    return 0


def summarise(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of what was measured on the test and validation splits, and of the training time.

    The deviation is that of a sample: the sum of squares is divided by n - 1.
    """
    names = [
        name
        for name, value in results[0].items()
        if (name.startswith(("test_", "validation_")) and isinstance(value, float)) or name == "seconds_training"
    ]
    columns = {name: [each[name] for each in results] for name in names if all(name in each for each in results)}
    return {
        name: {
            "mean": statistics.mean(values),
            "standard_deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
        }
        for name, values in columns.items()
    }


def table(
    results: Mapping[str, Mapping[str, Any]],
    summary: Mapping[str, Mapping[str, float]],
    show: Callable[[str, float], str],
) -> list[str]:
    """Lines of text: each run's numbers, then their mean and standard deviation."""
    rows = [["", *(name.replace("_", " ") for name in summary)]]
    rows += [[run, *(show(name, result[name]) for name in summary)] for run, result in results.items()]
    for statistic in ("mean", "standard_deviation"):
        rows.append([statistic.replace("_", " "), *(show(name, each[statistic]) for name, each in summary.items())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in rows]
