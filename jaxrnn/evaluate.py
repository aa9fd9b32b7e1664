"""Evaluates a trained classifier: `python -m jaxrnn.evaluate RUN_DIR [--data PATH] [--split test] [--json]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from jaxrnn import build
from jaxrnn.command_line import ArgumentParser, run
from jaxrnn.data import load_examples


def main(arguments: Sequence[str]) -> int:
    """Prints loss and accuracy; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.evaluate", description="Loss and accuracy of a run's best checkpoint."
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run")
    parser.add_argument("--data", metavar="SOURCE", help="Hub name, folder or file; default: what the run trained on")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="test",
        help="default: %(default)s; a SOURCE that has no splits is taken whole",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_intermixed_args(arguments)

    classifier = build.load_classifier(options.run_dir)
    if options.data is None:
        examples = build.build_corpus(classifier.config).splits[options.split]
    else:
        examples = load_examples(options.data, split=options.split, label_names=classifier.label_names)
    totals = classifier.evaluate(examples.texts, examples.labels).totals

    if options.json:
        result = {"split": options.split, "loss": totals.mean_loss, "accuracy": totals.accuracy}
        print(json.dumps(result | {"num_examples": totals.examples, "step": classifier.best_step}))
    else:
        print(
            f"{options.split} loss {totals.mean_loss:.4f}, {options.split} accuracy {100 * totals.accuracy:.2f} % "
            f"({totals.examples:,} examples)"
        )
    return 0


if __name__ == "__main__":
    run(main)
