"""How much each word, and run of words, speaks for a class: log-count ratios of the training texts."""

from collections.abc import Sequence

import numpy as np

from jaxrnn.data.ngrams import NGrams


def log_count_ratios(
    token_ids: Sequence[np.ndarray], labels: np.ndarray, *, num_classes: int, num_words: int, num_ngrams: int
) -> np.ndarray:
    """Logarithm of the probability of a word in texts of a class over that in texts of the others.

    Probabilities are shares of the occurrences of all words and runs, where a text counts a word once, and each count
    is one more than it is: r = log((p/‖p‖₁) / (q/‖q‖₁)) of Wang & Manning 2012, aclanthology.org/P12-2018.

    Args:
        token_ids: The numbers of each text's tokens, [num_tokens] or [num_tokens, numbers], see `NGrams.encode`.
        labels: The class number of each text, [num_texts].
        num_classes: At least 2.
        num_words: Numbers of words.
        num_ngrams: Numbers of runs of words, 0 for none.

    Returns:
        float32 [num_words + num_ngrams, num_classes], or [..., 1] for two classes: of the second. Zero for what stands
        for unknown words and runs and for padding.
    """
    counts = np.ones((num_classes, num_words + num_ngrams))
    for ids, label in zip(token_ids, labels, strict=True):
        rows = ids.reshape(len(ids), -1) + np.where(np.arange(ids.reshape(len(ids), -1).shape[1]) > 0, num_words, 0)
        counts[label, np.unique(rows)] += 1
    others = counts.sum(0) - counts - (num_classes - 2)  # one more than it is, and no more
    shares, others = (each / each.sum(1, keepdims=True) for each in (counts, others))
    ratios = np.log(shares / others)
    for first in (0, num_words):
        ratios[:, first : first + NGrams.num_specials] = 0
    return (ratios if num_classes > 2 else ratios[1:]).T.astype(np.float32)
