"""Log-count ratios: how much each word and n-gram of the training texts speaks for a class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxrnn.applications.classification.ngrams import NGrams
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.files import replacing

NUM_FOLDS = 10


def folds_of(labels: np.ndarray) -> np.ndarray:
    """The fold of each training text, int32 `[num_texts]`; every fold has the same share of each class.

    Neighbouring texts of a class are in one fold, because in many data sets neighbours have a subject in common. If
    some of them were in other folds, the ratios of those folds would give the subject's label away.

    Args:
      labels: The class number of each text, in the source's order.
    """
    folds = np.zeros(len(labels), np.int32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[members] = np.arange(len(members)) * NUM_FOLDS // len(members)
    return folds


def num_rows(vocabulary: Vocabulary, ngrams: NGrams) -> int:
    """How many rows the table has: one for each word, then one for each n-gram."""
    return len(vocabulary) + len(ngrams)


def rows_of(token_ids: np.ndarray, vocabulary: Vocabulary, ngrams: NGrams) -> np.ndarray:
    """The rows of the table that belong to each token: its word, and the n-grams that end with it.

    Args:
      token_ids: The numbers of a text's tokens, `[num_tokens]`.
      vocabulary: The words.
      ngrams: The n-grams.

    Returns:
      int32 `[num_tokens, longest]`.
    """
    return np.concatenate([token_ids[:, None], len(vocabulary) + ngrams.encode(token_ids.tolist())], 1, dtype=np.int32)


def log_count_ratios(
    rows: Sequence[np.ndarray],
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    num_classes: int,
    num_words: int,
    num_ngrams: int,
) -> np.ndarray:
    """The logarithm of a word's probability in the texts of a class divided by that in the texts of the others.

    Probabilities are shares of the occurrences of all words and n-grams. A text counts each of them once, and one is
    added to each count: r = log((p/‖p‖₁) / (q/‖q‖₁)) of Wang & Manning 2012, aclanthology.org/P12-2018. The ratios of a
    fold are computed from the texts that are not in it.

    Args:
      rows: What stands at each token of each text, `[num_tokens, longest]`, see `rows_of`.
      labels: The class number of each text, `[num_texts]`.
      folds: The fold of each text, `[num_texts]`, from `folds_of`.
      num_classes: C, at least 2.
      num_words: V, rows of words.
      num_ngrams: N, rows of n-grams; 0 for none.

    Returns:
      float32 `[NUM_FOLDS + 1, V + N, C]`. The last table is that of all texts. Two classes have one column, that of the
      second class. Unknown words and n-grams and padding have the ratio 0.
    """
    counts = np.zeros((NUM_FOLDS, num_classes, num_words + num_ngrams))
    for text_rows, label, fold in zip(rows, labels, folds, strict=True):
        counts[fold, label, np.unique(text_rows)] += 1
    total = counts.sum(0)
    ratios = np.stack([_ratios(total - left_out) for left_out in (*counts, 0)])
    ratios[..., [Vocabulary.unknown_id, Vocabulary.pad_id]] = 0
    if num_ngrams:
        ratios[..., num_words + NGrams.unknown] = 0
    return (ratios if num_classes > 2 else ratios[:, 1:]).swapaxes(1, 2).astype(np.float32)


def _ratios(counts: np.ndarray) -> np.ndarray:
    """The ratios of counts by class, both `[num_classes, rows]`."""
    counts_of_others = counts.sum(0) - counts
    shares, shares_of_others = ((each + 1) / (each + 1).sum(1, keepdims=True) for each in (counts, counts_of_others))
    return np.log(shares / shares_of_others)


def save_ratios(path: Path, table: np.ndarray) -> None:
    """Writes the table in the safetensors format."""
    with replacing(path) as temporary:
        save_file({"ratios": np.ascontiguousarray(table)}, temporary)


def load_ratios(path: Path, *, num_rows: int, num_outputs: int) -> np.ndarray:
    """Reads what `save_ratios` wrote.

    Raises:
      InputError: The file cannot be read, or holds no table of this size.
    """
    expected = (NUM_FOLDS + 1, num_rows, num_outputs)
    try:
        table = load_file(path)["ratios"]
        if table.shape != expected or table.dtype != np.float32 or not np.isfinite(table).all():
            raise ValueError
    except (OSError, SafetensorError, LookupError, ValueError) as error:
        raise InputError(
            f"{path}: expected the log-count ratios {list(expected)} of the words in vocabulary.txt and the n-grams in "
            "ngrams.txt, as a safetensors file; one of the files is missing, something else or damaged"
        ) from error
    return table
