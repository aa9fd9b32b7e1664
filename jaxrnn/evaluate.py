"""Evaluates a trained model: `python -m jaxrnn.evaluate RUN_DIR [--data SOURCE] [--split test] [--json]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from jaxrnn import applications
from jaxrnn.config import ArgumentParser, run


def main(arguments: Sequence[str]) -> int:
    """Prints all metrics of the run's best checkpoint; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.evaluate", description="Measures the best checkpoint of a run on one split."
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run")
    parser.add_argument(
        "--data", metavar="SOURCE", help="Hub name, folder or file with the examples; default: the run's own data"
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="test",
        help="split to evaluate on; a SOURCE that has no splits is taken whole; default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a line of text")
    options = parser.parse_intermixed_args(arguments)

    trained = applications.load(options.run_dir)
    application, config, assets = trained.application, trained.config, trained.assets
    task = application.task(config, assets)
    sums = trained.evaluate(application.examples(config, assets, options.data, options.split)).sums
    if options.json:
        measured = {"split": options.split, **task.measure(sums), f"num_{task.unit}": sums["count"]}
        print(json.dumps(measured | {"step": trained.best_step}))
    else:
        print(f"{options.split} {task.describe(sums)} ({sums['count']:,} {task.unit})")
    return 0


if __name__ == "__main__":
    run(main)
