"""N-grams: sequences of two or more words that have a number of their own, beside those of their words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jaxrnn.data.text import Vocabulary
from jaxrnn.data.text.vocabulary import escaped, read_lines, unescaped
from jaxrnn.errors import InputError
from jaxrnn.files import replacing

NGram = tuple[int, ...]  # the numbers of its words


class NGrams:
    """The n-grams that are known, numbered from 0: 0 is every n-gram that is not listed, then come those listed.

    Args:
      ngrams: The word numbers of each n-gram, most frequent first.

    Attributes:
      longest: The number of words in the longest n-gram; 1 if there is none.

    Raises:
      ValueError: An n-gram occurs twice or has fewer than two words.
    """

    unknown = 0

    def __init__(self, ngrams: Iterable[NGram] = ()):
        self.ngrams = tuple(ngrams)
        self.longest = max(map(len, self.ngrams), default=1)
        self._numbers = {ngram: number for number, ngram in enumerate(self.ngrams, start=self.unknown + 1)}
        if len(self._numbers) < len(self.ngrams) or any(len(ngram) < 2 for ngram in self.ngrams):
            raise ValueError("ngrams: expected distinct n-grams of two or more words")

    @classmethod
    def build(
        cls,
        token_ids: Sequence[Sequence[int]],
        *,
        first_word: int,
        longest: int,
        max_size: int | None = None,
        min_count: int = 1,
    ) -> "NGrams":
        """Takes the most frequent n-grams; among equally frequent ones the numbers decide.

        Args:
          token_ids: The numbers of each text's tokens.
          first_word: The lowest number of a word. What stands for unknown words is in no n-gram.
          longest: The number of words in the longest n-grams.
          max_size: The most n-grams to take, of all lengths together; None: all.
          min_count: Rarer n-grams are left out.
        """
        known: dict[NGram, int] = {}
        shorter = {(word,) for ids in token_ids for word in ids if word >= first_word}
        for size in range(2, longest + 1):
            # An n-gram is no more frequent than the one it begins with: counting only those keeps the memory small.
            counts = Counter(
                ngram
                for ids in token_ids
                for ngram in _ngrams_of(ids, size)
                if ngram[:-1] in shorter and ngram[-1] >= first_word
            )
            frequent = {ngram: count for ngram, count in counts.items() if count >= min_count}
            known |= frequent
            shorter = frequent.keys()
        return cls(sorted(known, key=lambda ngram: (-known[ngram], ngram))[:max_size])

    def __len__(self) -> int:
        """How many numbers there are, that of unknown n-grams included; 0 without any n-gram."""
        return 1 + len(self.ngrams) if self.ngrams else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NGrams) and self.ngrams == other.ngrams

    __hash__ = None  # type: ignore[assignment]

    def encode(self, token_ids: Sequence[int]) -> np.ndarray:
        """The numbers of the n-grams that end with each token.

        Returns:
          int32 `[num_tokens, longest - 1]`: the number of the n-gram of two words, of that of three, and so on.
        """
        columns = np.full((self.longest - 1, len(token_ids)), self.unknown, dtype=np.int32)
        for size in range(2, min(self.longest, len(token_ids)) + 1):
            numbers = [self._numbers.get(ngram, self.unknown) for ngram in _ngrams_of(token_ids, size)]
            columns[size - 2, size - 1 :] = numbers
        return columns.T

    def save(self, path: Path, vocabulary: Vocabulary) -> None:
        """Writes one n-gram a line, its words separated by tabs and escaped as in JSON strings."""
        lines = ("\t".join(escaped(vocabulary.tokens[number]) for number in ngram) for ngram in self.ngrams)
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path, vocabulary: Vocabulary) -> "NGrams":
        """Reads what `save` wrote.

        Raises:
          InputError: The file cannot be read, or holds something else or words that the vocabulary does not have.
        """
        try:
            numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
            return cls(tuple(numbers[unescaped(word)] for word in line.split("\t")) for line in read_lines(path))
        except OSError as error:
            raise InputError(f"{path}: the n-grams cannot be read: {error.strerror}") from error
        except (ValueError, LookupError) as error:  # also UnicodeDecodeError and JSONDecodeError
            raise InputError(
                f"{path}: expected one n-gram a line, its words from {path.parent / 'vocabulary.txt'} and separated by "
                "tabs; the file is something else or damaged"
            ) from error


def _ngrams_of(token_ids: Sequence[int], size: int) -> Iterable[NGram]:
    return zip(*(token_ids[start:] for start in range(size)), strict=False)
