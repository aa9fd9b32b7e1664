"""Splits examples at random, the same way for the same seed."""

import logging

import numpy as np

from jaxrnn.data.corpus import Examples
from jaxrnn.errors import InputError

logger = logging.getLogger("jaxrnn")


def complete_splits(
    splits: dict[str, Examples],
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    max_train_examples: int | None,
) -> dict[str, Examples]:
    """Splits off from "train" what `splits` lacks of "test" and "validation".

    Args:
        splits: The given splits; "train" must be among them.
        validation_fraction: Share of the training examples (what is left of them after a test split) that
            becomes the validation split.
        test_fraction: Share of the examples that becomes the test split.
        seed: Seed of the permutations.
        max_train_examples: Number of training examples to keep, picked at random after the splits; None keeps all.

    Returns:
        "train", "validation" and "test".
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
    splits = {"train": train, "validation": validation, "test": test}
    _log_overlap(splits)
    return splits


def _split_off(examples: Examples, split: str, fraction: float, rng: np.random.Generator) -> tuple[Examples, Examples]:
    count = round(len(examples) * fraction)
    if not 0 < count < len(examples):
        raise InputError(
            f"data.{split}_fraction: expected a share that leaves examples on both sides, got {fraction} "
            f"of {len(examples)} examples; change it or give a larger data.source"
        )
    order = rng.permutation(len(examples))
    return examples.take(order[count:]), examples.take(order[:count])


def _drop_duplicates(examples: Examples) -> Examples:
    first = dict(zip(reversed(examples.texts), reversed(range(len(examples))), strict=True))
    if len(first) == len(examples):
        return examples
    logger.info(
        "data: dropped %d of %d examples, exact copies of earlier texts, before splitting off a test set",
        *(len(examples) - len(first), len(examples)),
    )
    return examples.take(np.sort(np.fromiter(first.values(), dtype=np.int64)))


def _log_overlap(splits: dict[str, Examples]) -> None:
    # Given splits are left as they are: their numbers are to be compared with other people's.
    train = set(splits["train"].texts)
    for split in ("validation", "test"):
        count = sum(text in train for text in splits[split].texts)
        if count:
            logger.info("data: %d of %d %s texts also occur in train", count, len(splits[split]), split)
