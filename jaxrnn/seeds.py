"""A run of several seeds: a folder for each, the same data in all, and their mean and spread."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxrnn.config import Config, to_toml
from jaxrnn.files import expand_user
from jaxrnn.training import RunFolder, processes

# What is summed up of the runs' results, where they have it.
MEASURED = ("test_accuracy", "test_perplexity", "test_loss", "validation_loss", "seconds_training")


def run_dirs(path: Path, config: Config) -> list[Path]:
    """The folders of the single runs of a run in this folder."""
    if config.train.seeds == 1:
        return [path]
    return [path / f"seed-{seed}" for seed in _seeds(config)]


def train_seeds(config: Config, folder: RunFolder, train: Callable[[Config], int]) -> int:
    """Trains one seed after the other, each in its own folder, which a later start skips or goes on with.

    The split is the first seed's in all of them: only first weights, order and dropout differ.

    Args:
      config: of several seeds.
      folder: that receives their folders and `result.json`.
      train: trains one of them; its exit status.

    Returns:
      The exit status: of the first run that did not end, else 0.
    """
    path = expand_user(config.run_dir)
    data, train_one = replace(config.data, split_seed=config.split_seed), replace(config.train, seeds=1)
    folders = dict(zip(_seeds(config), run_dirs(path, config), strict=True))
    runs = [
        replace(config, seed=seed, run_dir=str(run_dir), data=data, train=train_one)
        for seed, run_dir in folders.items()
    ]
    if processes.is_first():
        folder.write_text(folder.config, to_toml(config))
    for number, one in enumerate(runs, start=1):
        print(f"seed {one.seed}, {number} of {len(runs)}")
        status = train(one)
        if status:
            return status
    if processes.is_first():
        results = {each.name: json.loads(RunFolder(each).result.read_text()) for each in folders.values()}
        summary = summarise(list(results.values()))
        folder.write_json(folder.result, {"seeds": list(_seeds(config)), **summary, "runs": results})
        print("\n".join(table(results, summary)))
    return 0


def summarise(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (of a sample: divided by n - 1) of what all results have of `MEASURED`."""
    columns = {name: [each[name] for each in results] for name in MEASURED if all(name in each for each in results)}
    return {
        name: {
            "mean": statistics.mean(values),
            "standard_deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
        }
        for name, values in columns.items()
    }


def table(results: dict[str, dict[str, Any]], summary: dict[str, dict[str, float]]) -> list[str]:
    """Lines of text: each run's numbers, then their mean and standard deviation."""
    rows = [["", *(name.replace("_", " ") for name in summary)]]
    rows += [[run, *(_show(name, result[name]) for name in summary)] for run, result in results.items()]
    for statistic in ("mean", "standard_deviation"):
        rows.append([statistic.replace("_", " "), *(_show(name, each[statistic]) for name, each in summary.items())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in rows]


def _show(name: str, value: float) -> str:
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    return f"{value:.0f} s" if name.startswith("seconds") else f"{value:.4f}"


def _seeds(config: Config) -> range:
    return range(config.seed, config.seed + config.train.seeds)
