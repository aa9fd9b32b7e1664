"""Asks a trained model: `python -m jaxrnn.predict RUN_DIR [INPUT ...] [--json] [--html FILE]`."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jaxrnn import applications
from jaxrnn.config import ArgumentParser, run
from jaxrnn.errors import InputError
from jaxrnn.files import replacing

GENERIC = ("run_dir", "inputs", "json", "html")  # arguments that are not an application's own


def main(arguments: Sequence[str]) -> int:
    """Prints an answer for each input; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.predict",
        description="Answers inputs with the best checkpoint of a run. `RUN_DIR --help` lists the run's own arguments.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="inputs; default: one a line from standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each input")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the answers as a page of HTML instead")
    applications.add_own_arguments(parser, arguments, "predict")
    options = parser.parse_intermixed_args(arguments)
    if options.json and options.html:
        raise InputError("--html: expected without --json")

    logging.getLogger("jaxrnn").setLevel(logging.WARNING)
    trained = applications.load(options.run_dir)
    # Bytes that are not UTF-8 become U+FFFD: one odd text should not cost the answers to the others.
    inputs = [os.fsencode(text).decode("utf-8", "replace") for text in options.inputs] or read_lines()
    if not inputs:
        return 0
    own_options = {name: value for name, value in vars(options).items() if name not in GENERIC}
    if options.html:
        page = trained.application.page(trained, inputs, **own_options)
        with replacing(options.html) as temporary:
            temporary.write_text(page, encoding="utf-8")
        print(options.html)
        return 0
    console = Console(highlight=False)
    for answer in trained.application.predict(trained, inputs, **own_options):
        if options.json:
            print(json.dumps(answer.json(), ensure_ascii=False))
        elif isinstance(line := answer.line(), str):
            print(line)
        else:
            console.print(line, soft_wrap=True)
    return 0


def read_lines() -> list[str]:
    """The lines of standard input, cut at the newline alone: a text may hold other characters that end lines."""
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").removesuffix("\n").split("\n")
    return [] if lines == [""] else [line.removesuffix("\r") for line in lines]


if __name__ == "__main__":
    run(main)
