"""Splits examples at random, the same way for the same seed."""

import logging
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Protocol, TypeVar

import numpy as np

from jaxrnn.errors import InputError

logger = logging.getLogger("jaxrnn")

# How files, folders and Hub datasets name their splits. Anything else is not read.
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


class Splittable(Protocol):
    """Records that are picked by their numbers."""

    def __len__(self) -> int: ...

    def take(self, indices: np.ndarray) -> "Any":
        """The records at these places, in that order."""
        ...

    @property
    def keys(self) -> Sequence[Any]:
        """What two records have in common if they are copies of each other, hashable, one for each record."""
        ...


Records = TypeVar("Records", bound=Splittable)
Countable = TypeVar("Countable", bound=Sized)


def complete_splits(
    splits: Mapping[str, Records],
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    max_train_examples: int | None,
) -> dict[str, Records]:
    """Splits off from "train" what `splits` lacks of "test" and "validation".

    Args:
      splits: The given splits; "train" must be among them.
      validation_fraction: The share of the training examples (what is left of them after a test split) that becomes the
        validation split.
      test_fraction: The share of the examples that becomes the test split.
      seed: Seed of the permutations.
      max_train_examples: Training examples to keep, picked at random after the splits; None keeps all.

    Returns:
      "train", "validation" and "test".

    Raises:
      InputError: A fraction leaves no example on one side.
    """
    rng = np.random.default_rng(seed)
    train = splits["train"]
    if "test" in splits:
        test = splits["test"]
    else:
        # A copy on either side of the split would make the test measure memory.
        train, test = _split_off(_drop_duplicates(train), "test", test_fraction, rng)
    if "validation" in splits:
        validation = splits["validation"]
    else:
        train, validation = _split_off(train, "validation", validation_fraction, rng)
    if max_train_examples is not None and max_train_examples < len(train):
        train = train.take(np.sort(rng.permutation(len(train))[:max_train_examples]))
    complete = {"train": train, "validation": validation, "test": test}
    _log_overlap(complete)
    logger.info("data: %s", ", ".join(f"{len(records):,} {split}" for split, records in complete.items()))
    return complete


def pick_split(splits: Mapping[str, Countable], split: str, source: str) -> Countable:
    """One split of a source that a trained model is asked about; a source without splits is taken whole.

    Raises:
      InputError: The source has splits, but not this one, or it is empty.
    """
    if split not in splits:
        if list(splits) != ["train"]:
            raise InputError(f"data.source {source!r}: has no {split} split, only {', '.join(splits)}")
        logger.info("data: %s has no splits; all of it is taken", source)
        split = "train"
    if not len(splits[split]):
        raise InputError(f"data.source {source!r}: the {split} split is empty")
    return splits[split]


def read_source(source: str, read: Callable[[str], dict[str, Countable]]) -> dict[str, Countable]:
    """What `read` finds in a source; an error of the system becomes an InputError that names the file."""
    try:
        return read(source)
    except OSError as error:  # no permission, a name too long, a failing disk
        raise InputError(f"data.source {source!r}: {error.filename or source}: {error.strerror or error}") from error


def _split_off(records: Records, split: str, fraction: float, rng: np.random.Generator) -> tuple[Records, Records]:
    count = round(len(records) * fraction)
    if not 0 < count < len(records):
        raise InputError(
            f"data.{split}_fraction: expected a share that leaves examples on both sides, got {fraction} "
            f"of {len(records)} examples; change it or give a larger data.source"
        )
    order = rng.permutation(len(records))
    return records.take(order[count:]), records.take(order[:count])


def _drop_duplicates(records: Records) -> Records:
    first = dict(zip(reversed(records.keys), reversed(range(len(records))), strict=True))
    if len(first) == len(records):
        return records
    logger.info(
        "data: dropped %d of %d examples, exact copies of earlier ones, before splitting off a test set",
        len(records) - len(first),
        len(records),
    )
    return records.take(np.sort(np.fromiter(first.values(), dtype=np.int64)))


def _log_overlap(splits: Mapping[str, Splittable]) -> None:
    # Given splits are left as they are: their numbers are to be compared with other people's.
    train = set(splits["train"].keys)
    for split in ("validation", "test"):
        count = sum(key in train for key in splits[split].keys)
        if count:
            logger.info("data: %d of %d %s examples also occur in train", count, len(splits[split]), split)
