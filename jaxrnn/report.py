"""A run on a page: `python -m jaxrnn.report RUN_DIR [--data SOURCE] [--split validation] [--out FILE]`."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn import build
from jaxrnn.analysis import most_confident_mistakes
from jaxrnn.command_line import ArgumentParser, run
from jaxrnn.config import Config, load_config
from jaxrnn.data import Examples
from jaxrnn.errors import InputError
from jaxrnn.explain import explain
from jaxrnn.tasks import class_probabilities
from jaxrnn.training import RunFolder, format_duration
from jaxrnn.views import Answers, Mistake, Report, report_page

NUM_MISTAKES = 10
CLOSE = 1e-3  # of a loss to the recorded one: other hardware rounds otherwise


def main(arguments: Sequence[str]) -> int:
    """Writes the report; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.report",
        description="Writes one page of HTML: curves of a run, and the answers of its best checkpoint so far.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run, complete or not")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="where the run's data are, if not where its config says; split as in training",
    )
    parser.add_argument(
        "--split",
        choices=("validation", "test"),
        default="validation",
        help="default: %(default)s; test only once the run is complete",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="default: report.html in RUN_DIR")
    options = parser.parse_intermixed_args(arguments)

    logging.getLogger("jaxrnn").setLevel(logging.WARNING)
    folder = RunFolder.open(options.run_dir)
    config, result, records = load_config(folder.config, []), folder.read_result(), folder.read_metrics()
    if options.split == "test" and result is None:
        raise InputError(
            f"--split test: {folder.path} is not complete, and the test split is not looked at before; "
            "leave --split out"
        )
    if options.data is not None:
        config = replace(config, data=replace(config.data, source=options.data))
    classifier = answers = None
    if any(record["split"] == "validation" for record in records):
        classifier = build.load_classifier(folder.path)
        answers = _answers(classifier, _load_examples(config, classifier, options.split), options.split)
    best_step = classifier and classifier.best_step
    report = Report(
        name=folder.path.resolve().name,
        model=_describe_model(config),
        notes=_notes(records, result, answers, best_step),
        facts=_facts(config, result, answers, best_step, folder),
        records=records,
        best_step=best_step,
        answers=answers,
        config=folder.config.read_text(encoding="utf-8"),
    )
    file = options.out or folder.report
    folder.write_text(file, report_page(report))
    print(file)
    return 0


def _load_examples(config: Config, classifier: build.Classifier, split: str) -> Examples:
    try:
        corpus = build.build_corpus(config)
    except InputError as error:
        raise InputError(f"{error}; if the data are elsewhere now, give --data SOURCE") from error
    if corpus.label_names != classifier.label_names:
        raise InputError(
            f"data.source {config.data.source!r}: has the classes {', '.join(corpus.label_names)}, and the run "
            f"{', '.join(classifier.label_names)}; give the run's own data by --data SOURCE"
        )
    return corpus.splits[split]


def _answers(classifier: build.Classifier, examples: Examples, split: str) -> Answers:
    tokens = classifier.tokenize(examples.texts)
    evaluation = classifier.evaluate_tokens(tokens, examples.labels)
    probabilities = np.asarray(class_probabilities(evaluation.logits))
    worst = most_confident_mistakes(probabilities, examples.labels, count=NUM_MISTAKES)
    explanations = explain(classifier, [examples.texts[number] for number in worst])
    right_labels = [classifier.label_names[examples.labels[number]] for number in worst]
    return Answers(
        split=split,
        label_names=classifier.label_names,
        labels=examples.labels,
        probabilities=probabilities,
        lengths=np.array([len(text) for text in tokens]),
        loss=evaluation.totals.mean_loss,
        mistakes=list(map(Mistake, right_labels, explanations)),
    )


def _notes(
    records: Sequence[dict[str, Any]], result: dict[str, Any] | None, answers: Answers | None, best_step: int | None
) -> list[str]:
    """What the reader should know before the numbers."""
    notes = []
    if result is None:
        reached = max((record["step"] for record in records), default=0)
        notes.append(f"This run is not complete: it has reached step {reached:,}, and all of this may still change.")
    if answers is None:
        notes.append("There is no checkpoint yet: the first comes with the first validation.")
        return notes
    recorded = [record["loss"] for record in records if (record["split"], record["step"]) == ("validation", best_step)]
    if answers.split == "test" and result is not None:
        recorded = [result["test_loss"]]
    if recorded and abs(recorded[-1] - answers.loss) > CLOSE * abs(recorded[-1]):
        notes.append(
            f"The run recorded a {answers.split} loss of {recorded[-1]:.4f} with these weights, and here it is "
            f"{answers.loss:.4f}: these are not the data that it was trained and validated on."
        )
    if answers.split == "validation":
        notes.append("The checkpoint was chosen on these validation texts: expect a little less on new ones.")
    return notes


def _facts(
    config: Config,
    result: dict[str, Any] | None,
    answers: Answers | None,
    best_step: int | None,
    folder: RunFolder,
) -> list[tuple[str, str]]:
    """What was run, on what, for how long."""
    facts = [("Data", config.data.source)]
    if answers is not None:
        facts += [
            ("Split", f"{answers.split}, {len(answers.labels):,} texts in {len(answers.label_names)} classes"),
            ("Checkpoint", f"step {best_step:,}, the lowest validation loss"),
        ]
    if result is not None:
        versions = {"Python": result["python"]} | result["packages"]
        facts += [
            (
                "Test, once",
                f"{100 * result['test_accuracy']:.2f} % of {result['test_examples']:,} texts, at the run's end",
            ),
            ("Parameters", f"{result['num_parameters']:,}"),
            (
                "Training",
                f"{format_duration(result['seconds_training'])} on {result['num_devices']} × {result['device']}",
            ),
            ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ]
    return [*facts, ("Seed", str(config.seed)), ("Again", f"python -m jaxrnn.train {folder.config} run_dir=NEW")]


def _describe_model(config: Config) -> str:
    model = config.model
    cell = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman network"}[model.cell]
    layers = "1 layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    directions = "Bidirectional" if model.bidirectional else "Unidirectional"
    pooling = model.pooling if isinstance(model.pooling, str) else ", ".join(model.pooling)
    return (
        f"{directions} {cell}: {layers}, {model.hidden} hidden units, {pooling} pooling, "
        f"word vectors of {model.embedding} numbers"
    )


if __name__ == "__main__":
    run(main)
