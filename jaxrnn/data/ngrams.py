"""Runs of words that have a number of their own, beside those of their words."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

NGram = tuple[int, ...]  # the numbers of its words


class NGrams:
    """Runs of two words or more, numbered as words are: 0 for every run not listed, 1 for padding, then these.

    Args:
        counts: The word numbers of each run and how often it occurs, most frequent first.

    Raises:
        ValueError: A run occurs twice, has fewer than two words, or a count below 0.
    """

    num_specials = 2

    def __init__(self, counts: Iterable[tuple[NGram, int]] = ()):
        counts = list(counts)
        self.counts = dict(counts)
        self.longest = max(map(len, self.counts), default=1)  # in words
        self._numbers = {ngram: number for number, ngram in enumerate(self.counts, start=self.num_specials)}
        if len(self.counts) < len(counts) or any(len(ngram) < 2 or count < 0 for ngram, count in counts):
            raise ValueError("ngrams: expected distinct runs of two words or more, with counts")

    def __len__(self) -> int:
        """How many numbers there are, the two specials included; 0 without any run."""
        return self.num_specials + len(self.counts) if self.counts else 0

    def encode(self, token_ids: Sequence[int]) -> np.ndarray:
        """Adds to each word of a text the numbers of the runs that end with it.

        Returns:
            int32 [num_tokens, longest]: the word's own number, that of the run of two, and so on.
        """
        columns = np.zeros((self.longest, len(token_ids)), dtype=np.int32)
        columns[0] = token_ids
        for size in range(2, min(self.longest, len(token_ids)) + 1):
            columns[size - 1, size - 1 :] = [self._numbers.get(run, 0) for run in _runs(token_ids, size)]
        return columns.T


def count_ngrams(
    token_lists: Sequence[Sequence[int]], *, first_word: int, longest: int, max_size: int | None, min_count: int
) -> list[tuple[NGram, int]]:
    """The most frequent runs of words and their counts; among equally frequent ones the numbers decide.

    Args:
        token_lists: The numbers of each text's tokens.
        first_word: The lowest number of a word: what stands for unknown words is in no run.
        longest: Words of the longest runs.
        max_size: The most runs to take, of all lengths together; None: all.
        min_count: Rarer runs are left out.
    """
    found: dict[NGram, int] = {}
    shorter = {(word,) for token_ids in token_lists for word in token_ids if word >= first_word}
    for size in range(2, longest + 1):
        # A run is no more frequent than the one it begins with: to count only those keeps the memory small.
        counts = Counter(
            run
            for token_ids in token_lists
            for run in _runs(token_ids, size)
            if run[:-1] in shorter and run[-1] >= first_word
        )
        frequent = {run: count for run, count in counts.items() if count >= min_count}
        found |= frequent
        shorter = frequent.keys()
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))[:max_size]


def _runs(token_ids: Sequence[int], size: int) -> Iterable[NGram]:
    return zip(*(token_ids[start:] for start in range(size)), strict=False)
