"""The texts of a source as they are read, with labels by name, and as a corpus, with labels by number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxrnn.data.splits import SPLIT_NAMES
from jaxrnn.errors import InputError

# Names of the split of unlabelled texts, which is read only when labels are not.
UNLABELLED_SPLIT_NAMES = {"unsupervised": "unsupervised", "unsup": "unsupervised"}
UNLABELLED = ""  # the label of every text when labels are not read


@dataclass(frozen=True)
class Texts:
    """Labelled texts.

    Attributes:
      texts: The texts as they were read.
      labels: The number of each text's label, int32 `[num_texts]`, from 0 to num_classes - 1.
    """

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def keys(self) -> list[str]:
        """What identifies an example: its text. Two examples with the same text are duplicates."""
        return self.texts

    def take(self, indices: np.ndarray) -> "Texts":
        """Returns the examples with these numbers, in this order."""
        return Texts([self.texts[i] for i in indices], self.labels[indices])


@dataclass(frozen=True)
class Corpus:
    """A data set with all its splits.

    Attributes:
      label_names: The names of the labels, in the order of their numbers; empty where the texts have no labels.
      splits: The texts of the splits "train", "validation" and "test".
    """

    label_names: tuple[str, ...]
    splits: dict[str, Texts]


@dataclass(frozen=True)
class Records:
    """Texts with the names of their labels, before the labels of all splits are numbered together.

    Attributes:
      origin: The file, folder or Hub name, for messages.
      texts: The texts.
      labels: The label name of each text; `UNLABELLED` for all when labels are not read.
      label_order: All label names in the order that the source declares; None when it declares none.
    """

    origin: str
    texts: list[str]
    labels: list[str]
    label_order: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def name_labels(self) -> tuple[str, ...]:
        """Returns the label names in the order of their numbers: the declared order, or else sorted."""
        return self.label_order or tuple(sorted(set(self.labels), key=_label_sort_key))

    def number_labels(self, label_names: Sequence[str]) -> Texts:
        """Replaces each label name by its index in `label_names`.

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
        return Texts(self.texts, np.array([numbers[label] for label in self.labels], dtype=np.int32))


def split_names(*, labelled: bool) -> dict[str, str]:
    """Maps the name of a file, folder or Hub split to the name of the split in a `Corpus`."""
    return SPLIT_NAMES if labelled else SPLIT_NAMES | UNLABELLED_SPLIT_NAMES


def concatenate(parts: Sequence[Records]) -> Records:
    """Concatenates the records of a split that is stored in several files (shards)."""
    if len(parts) == 1:
        return parts[0]
    return Records(
        origin=parts[0].origin,
        texts=[text for part in parts for text in part.texts],
        labels=[label for part in parts for label in part.labels],
        label_order=parts[0].label_order,
    )


def _label_sort_key(label: str) -> tuple[bool, int, str]:
    # All labels are strings here, but integers must sort by value (2 before 10).
    is_integer = label.removeprefix("-").isdecimal()
    return (not is_integer, int(label) if is_integer else 0, label)


def _enumerate(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... {len(names)} in all"
