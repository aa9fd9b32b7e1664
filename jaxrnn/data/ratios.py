"""How much each word, and run of words, speaks for a class: log-count ratios of the training texts."""

from collections.abc import Sequence

import numpy as np

from jaxrnn.data.ngrams import NGrams

NUM_FOLDS = 10


def folds_of(labels: np.ndarray) -> np.ndarray:
    """The fold of each text, int32 [num_texts]: neighbours of a class are in one, of which each has as many.

    Neighbours, as in many collections texts that have a subject in common stand together. It would be known from the
    other folds, were they in them.

    Args:
        labels: The class number of each text, in the source's order.
    """
    folds = np.zeros(len(labels), np.int32)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[members] = np.arange(len(members)) * NUM_FOLDS // len(members)
    return folds


def log_count_ratios(
    token_ids: Sequence[np.ndarray],
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    num_classes: int,
    num_words: int,
    num_ngrams: int,
) -> np.ndarray:
    """Logarithm of a word's probability in texts of a class over that in texts of the others, by folds and of all.

    Probabilities are shares of the occurrences of all words and runs, where a text counts each once, and each count is
    one more than it is: r = log((p/‖p‖₁) / (q/‖q‖₁)) of Wang & Manning 2012, aclanthology.org/P12-2018. The ratios of a
    fold are of the texts that are not in it.

    Args:
        token_ids: The numbers of each text's tokens, [num_tokens] or [num_tokens, numbers], see `NGrams.encode`.
        labels: The class number of each text, [num_texts].
        folds: The fold of each text, [num_texts], from `folds_of`.
        num_classes: C, at least 2.
        num_words: V, numbers of words.
        num_ngrams: Numbers of runs of words, N, 0 for none.

    Returns:
        float32 [NUM_FOLDS + 1, V + N, C], the last of all texts; of two classes the second's alone, [..., 1]. Zero for
        unknown words and runs and for padding.
    """
    counts = np.zeros((NUM_FOLDS, num_classes, num_words + num_ngrams))
    for ids, label, fold in zip(token_ids, labels, folds, strict=True):
        ids = ids[:, None] if ids.ndim == 1 else ids
        rows = ids + np.where(np.arange(ids.shape[1]) > 0, num_words, 0)
        counts[fold, label, np.unique(rows)] += 1
    everywhere = counts.sum(0)
    ratios = np.stack([_ratios(everywhere - outside) for outside in (*counts, 0)])
    for first in (0, num_words):
        ratios[..., first : first + NGrams.num_specials] = 0
    return (ratios if num_classes > 2 else ratios[:, 1:]).swapaxes(1, 2).astype(np.float32)


def _ratios(counts: np.ndarray) -> np.ndarray:
    """Of counts by class, [num_classes, rows]."""
    of_others = counts.sum(0) - counts
    shares, others = ((each + 1) / (each + 1).sum(1, keepdims=True) for each in (counts, of_others))
    return np.log(shares / others)
