"""The application of docs/add-an-application.md, here with its strings in files, so that tests can change them.

It is the smallest task that there is, and compiles fast. `python tests/parity.py train ...` runs a command on it.
"""

import re
import sys
import types
from pathlib import Path

import numpy as np

from jaxrnn import applications
from jaxrnn.config import run
from jaxrnn.errors import InputError

PAGE = Path(__file__).parent.parent / "docs" / "add-an-application.md"
COUNTS = {"train": 60, "validation": 20, "test": 30}
SMALL = [
    "task=parity", "model.hidden=4", "data.max_shapes=1", "train.batch_size=8", "train.epochs=3",
    "optim.learning_rate=0.02", "devices.per_process=1",
]  # fmt: skip
NUM_BATCHES = 8  # of an epoch: 60 strings in batches of 8 rows


def code_of_page():
    """The program of the page."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    return code


def load_page():
    """The program as a module that is not run."""
    module = types.ModuleType("parity_page")
    sys.modules["parity_page"] = module  # where its dataclasses look their annotations up
    exec(compile(code_of_page(), str(PAGE), "exec"), module.__dict__)
    return module


page = load_page()


class Parity(page.Parity):
    """Reads a folder with a file for each split; a line is a string of bits and whether it is odd, 0 or 1."""

    def examples(self, config, assets, source, split):
        folder = Path(source or config.data.source)
        try:
            lines = [line.split() for line in (folder / f"{split}.txt").read_text().splitlines()]
        except OSError as error:
            raise InputError(f"data.source {str(folder)!r}: has no {split}.txt") from error
        examples = page.encode([bits for bits, _ in lines])
        labels = np.array([int(label) for _, label in lines], np.int32)
        return page.Columns({**examples.columns, "label": labels}, bucket_by="bits")


APPLICATION = Parity()


def write_strings(folder):
    """Strings of 1 to 8 bits for every split."""
    for seed, (split, count) in enumerate(COUNTS.items()):
        rng = np.random.default_rng(seed)
        strings = ["".join(rng.choice(["0", "1"], rng.integers(1, 9))) for _ in range(count)]
        (folder / f"{split}.txt").write_text("".join(f"{each} {each.count('1') % 2}\n" for each in strings))
    return folder


if __name__ == "__main__":
    from jaxrnn import evaluate, predict, report, train

    applications.register("parity", APPLICATION)
    run({"train": train, "evaluate": evaluate, "predict": predict, "report": report}[sys.argv.pop(1)].main)
