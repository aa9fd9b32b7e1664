"""A run on a page: `python -m jaxrnn.report RUN_DIR [--data SOURCE] [--split validation] [--out FILE]`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxrnn import applications
from jaxrnn.applications import Trained
from jaxrnn.config import ArgumentParser, RunConfig, run
from jaxrnn.errors import InputError
from jaxrnn.training import RunFolder, Sums, Task, format_duration
from jaxrnn.views import Curve, Report, Section, report_page

CLOSE = 1e-3  # relative distance of a loss from the recorded one that another machine's rounding explains


def main(arguments: Sequence[str]) -> int:
    """Writes the report; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.report",
        description="Writes one page of HTML: the curves of a run, and what its best checkpoint so far answers.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run, complete or not")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="where the run's data are, if they are no longer where its config says; they are split as in training",
    )
    parser.add_argument(
        "--split",
        choices=("validation", "test"),
        default="validation",
        help="split whose answers are shown, test only once the run is complete; default: %(default)s",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="file to write; default: report.html in RUN_DIR")
    options = parser.parse_intermixed_args(arguments)

    logging.getLogger("jaxrnn").setLevel(logging.WARNING)
    folder = RunFolder.open(options.run_dir)
    config, result, records = applications.load_config(folder.config, []), folder.read_result(), folder.read_metrics()
    if options.split == "test" and result is None:
        raise InputError(
            f"--split test: {folder.path} is not complete, and the test split is not looked at before; "
            "leave --split out"
        )
    trained, sums, sections = None, None, []
    if any(record["split"] == "validation" for record in records):
        trained = applications.load(folder.path)
        sums, sections = _answers(trained, options.data, options.split)
    application = applications.get(config.task)
    task = application.task(config, trained.assets) if trained else None
    metrics = task.metrics if task else {}
    report = Report(
        name=folder.path.resolve().name,
        model=application.describe(config),
        notes=_notes(records, result, sums, options.split, task, trained),
        figures=_figures(task, sums, options.split),
        facts=_facts(config, result, sums, options.split, task, trained, folder),
        records=records,
        curves=[Curve(name, metric.unit, metric.log_scale) for name, metric in metrics.items()] or [Curve("loss")],
        best_step=trained.best_step if trained else None,
        sections=sections,
        config=folder.config.read_text(encoding="utf-8"),
    )
    file = options.out or folder.report
    folder.write_text(file, report_page(report))
    print(file)
    return 0


def _answers(trained: Trained, source: str | None, split: str) -> tuple[Sums, Sequence[Section]]:
    """What the model measures on a split, and the application's own part of the report."""
    config = trained.config
    if source is not None:
        config = replace(config, data=replace(config.data, source=source))
    try:
        examples = trained.application.examples(config, trained.assets, None, split)
    except InputError as error:
        hint = "" if source else "; if the data are elsewhere now, give --data SOURCE"
        raise InputError(f"{error}{hint}") from error
    evaluation = trained.evaluate(examples)
    return evaluation.sums, trained.application.report(trained, examples, evaluation)


def _notes(
    records: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any] | None,
    sums: Sums | None,
    split: str,
    task: Task | None,
    trained: Trained | None,
) -> list[str]:
    """What the reader should know before the numbers."""
    notes = []
    if result is None:
        reached = max((record["step"] for record in records), default=0)
        notes.append(
            f"This run is not complete: it has reached step {reached:,}, and everything here may still change."
        )
    if task is None or trained is None or sums is None:
        notes.append("There is no checkpoint yet: the first comes with the first validation.")
        return notes
    here = task.metrics["loss"].of(sums)
    at_best = [each for each in records if (each["split"], each["step"]) == ("validation", trained.best_step)]
    recorded = [each["loss"] for each in at_best]
    if split == "test" and result is not None:
        recorded = [result["test_loss"]]
    if recorded and abs(recorded[-1] - here) > CLOSE * abs(recorded[-1]):
        notes.append(
            f"The run recorded a {split} loss of {recorded[-1]:.4f} with these weights, and here it is {here:.4f}: "
            "these are not the data that it was trained and validated on."
        )
    if split == "validation":
        notes.append("The checkpoint was chosen on this validation split: expect slightly worse numbers on new data.")
    return notes


def _figures(task: Task | None, sums: Sums | None, split: str) -> list[tuple[str, str]]:
    """The metrics of the split, in large type."""
    if task is None or sums is None:
        return []
    values = task.measure(sums)
    units = {name: f", {task.metrics[name].unit}" if task.metrics[name].unit == "nats" else "" for name in values}
    figures = [(task.metrics[name].show(value), f"{split} {name}{units[name]}") for name, value in values.items()]
    return [*figures, (f"{sums['count']:,}", task.unit)]


def _facts(
    config: RunConfig,
    result: Mapping[str, Any] | None,
    sums: Sums | None,
    split: str,
    task: Task | None,
    trained: Trained | None,
    folder: RunFolder,
) -> list[tuple[str, str]]:
    """What was run, on what, for how long."""
    facts = [("Task", config.task), ("Data", config.data.source)]
    if task is not None and trained is not None and sums is not None:
        facts += [
            ("Split", f"{split}, {sums['count']:,} {task.unit}"),
            ("Checkpoint", f"step {trained.best_step:,}, the best validation {task.select}"),
        ]
        if result is not None:
            tested = {name: result.get(f"test_{name}") for name in task.metrics}
            shown = [f"{name} {task.metrics[name].show(value)}" for name, value in tested.items() if value is not None]
            facts.append(("Test, once", f"{', '.join(shown)}, at the end of the run"))
    if result is not None:
        versions = {"Python": result["python"]} | result["packages"]
        facts += [
            ("Parameters", f"{result['num_parameters']:,}"),
            (
                "Training",
                f"{format_duration(result['seconds_training'])} on {result['num_devices']} × {result['device']}",
            ),
            ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ]
    return [*facts, ("Seed", str(config.seed)), ("Again", f"python -m jaxrnn.train {folder.config} run_dir=NEW")]


if __name__ == "__main__":
    run(main)
