"""Divides IMDB's training reviews by film: a validation split whose films the training split hardly has.

    python -m benchmarks.classification.films IMDB_FOLDER OUT_FOLDER [--every 10] [--without-test]

IMDB_FOLDER holds train.parquet and test.parquet with the columns text, label and id. An id is NUMBER_RATING, as in the
names of aclImdb's files. These number each class from 0, film by film, so reviews of one film are neighbours, and a
random split has most films on both sides. Here the validation split gets whole blocks of 250 numbers, the same numbers
in both classes, one block of every ten. The training reviews are sorted by number, so that the folds of the log-count
ratios (`jaxrnn.applications.classification.ratios.folds_of`) hold whole films too.

A film's reviews of the other class have other numbers and may be on the other side, where they mislead a model that
remembers films. Therefore the accuracy on such blocks is too low, while on a random split it is too high. A linear
model of bigrams had, as the mean of ten splits, 89.6 % on the blocks and 91.4 % on random parts; trained on either, it
had 91.0 % on 5,000 test reviews.

OUT_FOLDER, which `data.source` may name, receives train.parquet, validation.parquet and test.parquet. With
--without-test the last one holds the validation reviews, so that recipes are chosen without the test split.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxrnn.config import ArgumentParser, run
from jaxrnn.errors import InputError
from jaxrnn.files import replacing

BLOCK = 250  # numbers in a block; a film has 30 reviews at most
COLUMNS = {"text", "label", "id"}


def main(arguments: Sequence[str]) -> int:
    """Writes the folder; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m benchmarks.classification.films",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("imdb", type=Path, metavar="IMDB_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    parser.add_argument(
        "--every", type=int, default=10, help="take one block in this many for validation; default: %(default)s"
    )
    parser.add_argument("--without-test", action="store_true", help="write the validation reviews as test too")
    options = parser.parse_args(arguments)
    if options.out.resolve() == options.imdb.resolve():
        raise InputError(f"OUT_FOLDER: expected another folder than IMDB_FOLDER, got {options.out}")
    if options.every < 2:
        raise InputError(f"--every: expected 2 or more, got {options.every}")

    table = _read(options.imdb / "train.parquet")
    numbers = numbers_of(table["id"].to_pylist())
    order = np.argsort(numbers, kind="stable")
    table, numbers = table.take(pa.array(order)), numbers[order]
    is_validation = numbers // BLOCK % options.every == options.every // 2
    splits = {"train": table.filter(pa.array(~is_validation)), "validation": table.filter(pa.array(is_validation))}
    for split, part in splits.items():
        if len(part["label"].unique()) < len(table["label"].unique()):
            raise InputError(
                f"--every: expected a number that leaves reviews of all classes in {split}, got {options.every} for "
                f"{len(table):,} reviews"
            )
    splits["test"] = splits["validation"] if options.without_test else _read(options.imdb / "test.parquet")
    options.out.mkdir(parents=True, exist_ok=True)
    for split, part in splits.items():
        with replacing(options.out / f"{split}.parquet") as file:
            pq.write_table(part, file)
    print(f"{options.out}: {', '.join(f'{len(part):,} {split}' for split, part in splits.items())}")
    return 0


def numbers_of(ids: Sequence[str]) -> np.ndarray:
    """The number of each review, `[num_reviews]`, from NUMBER_RATING."""
    numbers = [each.partition("_")[0] for each in ids]
    wrong = next((each for each, number in zip(ids, numbers, strict=True) if not number.isdecimal()), None)
    if wrong is not None:
        raise InputError(f"train.parquet: expected ids such as 123_8, a number and a rating, got {wrong!r}")
    return np.array(numbers, dtype=np.int64)


def _read(file: Path) -> pa.Table:
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    table = pq.read_table(file)
    if missing := COLUMNS - set(table.column_names):
        raise InputError(f"{file}: expected the columns text, label and id, it has no {', '.join(sorted(missing))}")
    return table


if __name__ == "__main__":
    run(main)
