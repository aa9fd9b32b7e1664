"""Continues a prompt with a trained model: `python -m jaxrnn.generate RUN_DIR [PROMPT] ...`."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from jaxrnn import applications
from jaxrnn.config import ArgumentParser, run


def main(arguments: Sequence[str]) -> int:
    """Prints what follows the prompt, as it comes; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.generate",
        description="Continues a prompt with the best checkpoint of a run. `RUN_DIR --help` lists the run's own "
        "arguments.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run")
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", default="", help="beginning; default: none")
    applications.add_own_arguments(parser, arguments, "generate")
    options = parser.parse_intermixed_args(arguments)

    logging.getLogger("jaxrnn").setLevel(logging.WARNING)
    trained = applications.load(options.run_dir)
    prompt = os.fsencode(options.prompt).decode("utf-8", "replace")
    own_options = {name: value for name, value in vars(options).items() if name not in ("run_dir", "prompt")}
    for piece in trained.application.generate(trained, prompt, **own_options):
        print(piece, end="", flush=True)
    print()
    return 0


if __name__ == "__main__":
    run(main)
