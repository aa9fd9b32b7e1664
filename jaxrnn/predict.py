"""Classifies texts: `python -m jaxrnn.predict RUN_DIR [TEXT ...] [--json]`; without TEXT, one a line from stdin.

With `--explain`, the words of each text are coloured by what they have to do with the answer; `--html FILE` writes that
as a page.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from jaxrnn import build
from jaxrnn.command_line import ArgumentParser, run
from jaxrnn.ensemble import find_members, load_ensemble
from jaxrnn.errors import InputError
from jaxrnn.explain import explain
from jaxrnn.files import replacing
from jaxrnn.tasks import class_probabilities
from jaxrnn.views import explanation_text, explanations_page


def main(arguments: Sequence[str]) -> int:
    """Prints, for each text, its most probable class and the probability; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.predict", description="Classifies texts with a run's best checkpoint."
    )
    parser.add_argument(
        "run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run; of several seeds: their ensemble"
    )
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="texts; none: one a line from standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON object a text, with all probabilities")
    parser.add_argument("--explain", action="store_true", help="show what each word has to do with the answer")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write that as a page of HTML")
    options = parser.parse_intermixed_args(arguments)
    if options.json and (options.explain or options.html):
        raise InputError("--json: expected without --explain and --html")

    logging.getLogger("jaxrnn").setLevel(logging.WARNING)
    members = find_members([options.run_dir])
    if len(members) > 1 and (options.explain or options.html):
        raise InputError(f"{options.run_dir}: expected one run to explain, it holds several: take {members[0]}")
    classifier = load_ensemble(members)
    # Bytes that are not UTF-8 become U+FFFD: one odd text should not cost the answers to the others.
    texts = [os.fsencode(text).decode("utf-8", "replace") for text in options.texts] or _read_lines()
    if not texts:
        return 0
    if options.explain or options.html:
        _explain(classifier, texts, options.run_dir.resolve().name, options.html)
        return 0
    for text, probabilities in zip(texts, np.asarray(class_probabilities(classifier.logits(texts))), strict=True):
        best = int(probabilities.argmax())
        label, probability = classifier.label_names[best], float(probabilities[best])
        if options.json:
            by_label = dict(zip(classifier.label_names, map(float, probabilities), strict=True))
            record = {"text": text, "label": label, "probability": probability, "probabilities": by_label}
            print(json.dumps(record, ensure_ascii=False))
        else:
            print(f"{label}\t{probability:.3f}\t{' '.join(text.split())[:80]}")
    return 0


def _explain(classifier: build.Classifier, texts: Sequence[str], name: str, html: Path | None) -> None:
    explanations = explain(classifier, texts)
    if html is not None:
        with replacing(html) as temporary:
            temporary.write_text(explanations_page(explanations, name=name), encoding="utf-8")
        print(html)
        return
    console = Console(highlight=False)
    for each in explanations:
        console.print(f"{each.label}\t{each.probability:.3f}", markup=False)
        console.print(explanation_text(each), soft_wrap=True)


def _read_lines() -> list[str]:
    # Cut at "\n" alone: a text may hold characters that str.splitlines takes for line ends.
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").removesuffix("\n").split("\n")
    return [] if lines == [""] else [line.removesuffix("\r") for line in lines]


if __name__ == "__main__":
    run(main)
