"""Evaluates trained models: `python -m jaxrnn.evaluate RUN_DIR ... [--data PATH] [--split test] [--json]`."""

import json
from collections.abc import Sequence
from pathlib import Path

from jaxrnn.applications import application_of
from jaxrnn.command_line import ArgumentParser, run
from jaxrnn.data import load_examples
from jaxrnn.ensemble import find_members, load_ensemble


def main(arguments: Sequence[str]) -> int:
    """Prints loss and accuracy, or a language model's perplexity; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.evaluate", description="Loss and accuracy (or perplexity) of a run's best checkpoint."
    )
    parser.add_argument(
        "run_dirs", metavar="RUN_DIR", type=Path, nargs="+", help="folder of a training run; several: an ensemble"
    )
    parser.add_argument("--data", metavar="SOURCE", help="Hub name, folder or file; default: what the run trained on")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="test",
        help="default: %(default)s; a SOURCE that has no splits is taken whole",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_intermixed_args(arguments)

    members = find_members(options.run_dirs)
    application = application_of(members[0])
    model = application.load(members[0]) if len(members) == 1 else load_ensemble(members)
    if options.data is None:
        examples = application.build_corpus(model.config).splits[options.split]
    else:
        examples = load_examples(options.data, split=options.split, label_names=model.label_names)
    totals = model.evaluate(examples.texts, examples.labels).totals
    task = application.build_task(model.config)

    if options.json:
        result = {"split": options.split, **task.metrics(totals), f"num_{task.unit}": totals.examples}
        result["step"] = model.best_step
        print(json.dumps(result | ({"num_members": len(members)} if len(members) > 1 else {})))
    else:
        print(f"{options.split} {task.describe(totals)} ({totals.examples:,} {task.unit})")
    return 0


if __name__ == "__main__":
    run(main)
