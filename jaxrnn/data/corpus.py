"""What every source of texts is read into: records with label names, then a corpus with label numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxrnn.errors import InputError

# How files, folders and Hub datasets name their splits. Anything else is not read.
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
# What is read beside them where no labels are asked for.
UNLABELLED_SPLIT_NAMES = {"unsupervised": "unsupervised", "unsup": "unsupervised"}
UNLABELLED = ""  # the label of every text then


@dataclass(frozen=True)
class Examples:
    """Labelled texts.

    Attributes:
        texts: The texts as read.
        labels: int32 [num_examples], the numbers 0 to num_classes - 1.
    """

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: np.ndarray) -> "Examples":
        """Returns the examples at `indices`, in that order."""
        return Examples([self.texts[i] for i in indices], self.labels[indices])


@dataclass(frozen=True)
class Corpus:
    """A data set ready for training.

    Attributes:
        label_names: The name of each label number.
        splits: The examples of "train", "validation" and "test"; where asked for of "unsupervised", all labelled 0.
    """

    label_names: tuple[str, ...]
    splits: dict[str, Examples]


@dataclass(frozen=True)
class Records:
    """Texts with labels by name, before the labels of all splits get their numbers.

    Attributes:
        origin: The file, folder or Hub name, for messages.
        texts: The texts.
        labels: One label name for each text; all UNLABELLED where none were asked for.
        label_order: All label names in the order the source declares them; None when it declares none.
    """

    origin: str
    texts: list[str]
    labels: list[str]
    label_order: tuple[str, ...] | None = None

    def name_labels(self) -> tuple[str, ...]:
        """Returns the label names in the order of their numbers: as declared, else sorted."""
        return self.label_order or tuple(sorted(set(self.labels), key=_label_sort_key))

    def number_labels(self, label_names: Sequence[str]) -> Examples:
        """Replaces label names by their place in `label_names`.

        Raises:
            InputError: A label is not among `label_names`.
        """
        numbers = {name: number for number, name in enumerate(label_names)}
        for row, label in enumerate(self.labels, start=1):
            if label not in numbers:
                raise InputError(
                    f"data.source {self.origin}: row {row} has the label {label!r}, which the training examples "
                    f"do not have ({_enumerate(label_names)}); correct it or leave the row out"
                )
        return Examples(self.texts, np.array([numbers[label] for label in self.labels], dtype=np.int32))


def split_names(*, labelled: bool) -> dict[str, str]:
    """The split that each name of a file, folder or Hub split stands for."""
    return SPLIT_NAMES if labelled else SPLIT_NAMES | UNLABELLED_SPLIT_NAMES


def concatenate(parts: Sequence[Records]) -> Records:
    """Joins the files of one split (shards)."""
    if len(parts) == 1:
        return parts[0]
    return Records(
        origin=parts[0].origin,
        texts=[text for part in parts for text in part.texts],
        labels=[label for part in parts for label in part.labels],
        label_order=parts[0].label_order,
    )


def _label_sort_key(label: str) -> tuple[bool, int, str]:
    # Numbers sort as numbers (2 before 10), though every label is text by now.
    is_integer = label.removeprefix("-").isdecimal()
    return (not is_integer, int(label) if is_integer else 0, label)


def _enumerate(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... {len(names)} in all"
