"""Studies of a recipe for IMDB: what each of its ingredients contributes, and how it learns from fewer reviews.

    python -m benchmarks.classification.study ablation CONFIG.toml --out FOLDER [--jobs 2] [key=value ...]
    python -m benchmarks.classification.study learning-curve CONFIG.toml --out FOLDER [--jobs 2] [key=value ...]

The recipe is CONFIG.toml with the given changes. `train.seeds=3` among them trains every variant with three seeds. Each
variant is trained by the command line, in FOLDER/ablation/NAME or FOLDER/learning_curve/NAME, and its output goes to
NAME.log beside it. The same command resumes runs that were stopped, and leaves complete runs as they are. `run_dir=...`
among the changes says where the recipe's own run is or will be, if it is elsewhere.

ablation: compares the recipe with the variants of imdb_ablation.toml by validation accuracy. What the trainer measured
on the test split is not read. Writes FOLDER/ablation.json and .png.
learning-curve: test accuracy against the number of training reviews. Writes FOLDER/learning_curve.json and .png.
"""

import argparse
import json
import os
import re
import signal
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.classification.runs import run_dirs
from benchmarks.classification.study_views import VIEWS
from benchmarks.environment import command_line, environment
from benchmarks.jobs import run_all
from benchmarks.spread import show, spread
from jaxrnn.applications import load_config
from jaxrnn.applications.classification.data import load_texts
from jaxrnn.config import ArgumentParser, RunConfig, differences, run
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.training import RunFolder

ABLATION = Path(__file__).parent / "imdb_ablation.toml"
SIZES = (10_000, 5_000, 1_000)  # training reviews; the largest first, so that the last jobs end together
# What is read from each run. The first number is what the study is about.
MEASURED = {
    "ablation": ("validation_accuracy", "validation_loss", "seconds_training"),
    "learning_curve": ("test_accuracy", "test_loss", "validation_accuracy", "validation_loss", "seconds_training"),
}


class Variant(NamedTuple):
    """The recipe with changes.

    Attributes:
      name: Its name in the table.
      changes: The changes to the recipe, as key=value.
      config: The recipe with them.
      command: The command that trains it.
    """

    name: str
    changes: Sequence[str]
    config: RunConfig
    command: Sequence[str]


def main(arguments: Sequence[str]) -> int:
    """Trains what is missing, and writes the result; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m benchmarks.classification.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", choices=("ablation", "learning-curve"))
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("given", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder that receives the runs and the result"
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at once, each on its share of the cores")
    options = parser.parse_intermixed_args(arguments)
    if not 1 <= options.jobs <= (os.cpu_count() or 1):
        raise InputError(f"--jobs: expected a number from 1 to the {os.cpu_count()} cores, got {options.jobs}")

    study = options.study.replace("-", "_")
    folder = options.out / study
    recipe = load_config(options.config, options.given)
    examples = {split: len(each) for split, each in load_texts(recipe).splits.items()}
    changes = read_ablation(ABLATION) if study == "ablation" else smaller_than(examples["train"])
    variants = plan(options.config, options.given, folder, changes)
    folder.mkdir(parents=True, exist_ok=True)
    failed = train(variants, folder, at_once=options.jobs, reported=MEASURED[study][0])
    rows = collect([each for each in variants if each.name not in failed], study, examples["train"])
    result = {
        "environment": environment(command_line()),
        "jobs_at_once": options.jobs,
        "examples": examples,
        "failed": failed,
        "rows": rows,
    }
    (options.out / f"{study}.json").write_text(json.dumps(result, indent=1) + "\n")
    table, draw = VIEWS[study]
    draw(result, options.out / f"{study}.png")
    print("\n".join(table(result)))
    return 1 if failed else 0


def read_ablation(file: Path) -> dict[str, list[str]]:
    """Reads the changes of each variant by its name."""
    changes = tomllib.loads(file.read_text(encoding="utf-8"))
    for name, each in changes.items():
        if not (isinstance(each, list) and each and all(isinstance(change, str) for change in each)):
            raise InputError(f"{file.name}: {name!r}: expected a list of changes such as ['model.pooling=last']")
    return changes


def smaller_than(count: int) -> dict[str, list[str]]:
    """The changes that leave fewer than `count` training reviews, by name."""
    return {f"{size:,} reviews": [f"data.max_train_examples={size}"] for size in SIZES if size < count}


def plan(path: Path, given: Sequence[str], folder: Path, changes: Mapping[str, Sequence[str]]) -> list[Variant]:
    """The recipe, and after it its variants.

    Args:
      path: The recipe's file.
      given: Changes to the recipe that all variants share.
      folder: Receives the runs, except that of a recipe with a `run_dir` of its own.
      changes: The changes of each variant, by its name.

    Raises:
      InputError: A variant cannot be trained, or equals another one. This comes before hours are spent on the others.
    """
    variants = [_variant("recipe", [], path, [f"run_dir={folder / 'recipe'}", *given])]
    for name, each in changes.items():
        run_dir = f"run_dir={folder / _file_name(name)}"
        try:
            variant = _variant(name, each, path, [*given, *each, run_dir])
        except InputError as error:
            raise InputError(f"{name!r}: {error}") from error
        for other in variants:
            different = [key for key in differences(variant.config, other.config) if not key.startswith("run_dir:")]
            if not different or variant.config.run_dir == other.config.run_dir:
                raise InputError(f"{name!r}: expected another run than {other.name!r}, it is the same")
        variants.append(variant)
    return variants


def train(variants: Sequence[Variant], folder: Path, *, at_once: int, reported: str) -> dict[str, str]:
    """Trains what is not complete yet.

    Args:
      variants: The recipe and its variants.
      folder: Receives their output.
      at_once: Number of runs at once.
      reported: What is printed of each complete run, a number of its results.

    Returns:
      The last line that each failed variant wrote, by its name.

    Raises:
      InputError: The recipe itself failed.
    """
    names = {_file_name(each.name): each for each in variants}
    failed = {}
    commands = {name: each.command for name, each in names.items()}
    with closing(run_all(commands, at_once=at_once, logs=folder)) as ended:
        for name, status in ended:
            variant, log = names[name], folder / f"{name}.log"
            if status:
                last = "".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:])
                failed[variant.name] = f"exit status {status}: {last}"
                said = f"{variant.name}: {failed[variant.name]} (see {log})"
                if variant is variants[0]:
                    raise InputError(f"{said}; there is nothing to compare the others with")
            else:
                accuracy = show(spread([each[reported] for each in results(variant)]), scale=100)
                said = f"{variant.name}: {reported.replace('_', ' ')} {accuracy} %"
            print(said, file=sys.stderr, flush=True)
    return failed


def collect(variants: Sequence[Variant], study: str, num_train: int) -> list[dict[str, Any]]:
    """Collects the numbers of `MEASURED` for each variant, with their mean and standard deviation over the seeds.

    Args:
      variants: Complete runs, the recipe first.
      study: "ablation" or "learning_curve". An ablation also has each variant's gain over the recipe.
      num_train: Number of training reviews of the recipe.
    """
    rows, recipe = [], results(variants[0])
    for variant in variants:
        found = results(variant)
        row = {
            "name": variant.name,
            "changes": list(variant.changes),
            "seeds": list(range(variant.config.seed, variant.config.seed + len(found))),
            "train_examples": min(variant.config.data.max_train_examples or num_train, num_train),
            **{name: spread([each[name] for each in found]) for name in MEASURED[study]},
        }
        if (
            study == "ablation"
        ):  # seed by seed: both have the same random draws, so the difference varies less than either
            pairs = zip(found, recipe, strict=True)
            gained = [one["validation_accuracy"] - other["validation_accuracy"] for one, other in pairs]
            row["validation_accuracy_gained"] = spread(gained)
        rows.append(row)
    return rows


def results(variant: Variant) -> list[dict[str, Any]]:
    """The result of each seed's run, with the validation accuracy of the epoch whose weights were kept."""
    found = []
    for path in run_dirs(expand_user(variant.config.run_dir), variant.config):
        folder = RunFolder(path)
        result = folder.read_result()
        if result is None:
            raise InputError(f"{path}: expected a complete run, it has no {folder.result.name}")
        kept = ("validation", result["best_step"])
        records = folder.read_metrics()
        accuracy = next(each["accuracy"] for each in records if (each["split"], each["step"]) == kept)
        found.append(result | {"validation_accuracy": accuracy})
    return found


def _variant(name: str, changes: Sequence[str], path: Path, overrides: Sequence[str]) -> Variant:
    command = [sys.executable, "-m", "jaxrnn.train", str(path), *overrides]
    return Variant(name, changes, load_config(path, overrides), command)


def _file_name(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def _end(signal_number: int, frame: object) -> None:
    sys.exit(128 + signal_number)  # on the way out the runs are stopped


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    run(main)
