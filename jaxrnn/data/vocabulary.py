"""The tokens a model knows, and their numbers."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from jaxrnn.data.ngrams import NGram, NGrams, count_ngrams
from jaxrnn.errors import InputError
from jaxrnn.files import replacing

UNKNOWN = "<unk>"
PAD = "<pad>"
SPECIALS = (UNKNOWN, PAD)
END = "<end>"


class Vocabulary:
    """Tokens numbered from 0: `<unk>` for every token not listed, `<pad>` for padding, then the words.

    A language model's has `<end>` as the first of the words: what ends a text, and what a text begins after.

    Args:
        words: The words without the two specials, most frequent first.
        counts: How often each token occurs in the training texts, the specials included; None: not known.
        ngrams: Runs of words with numbers of their own.

    Raises:
        ValueError: A word occurs twice or is a special, or there is not one count for each token.
    """

    unknown_id = SPECIALS.index(UNKNOWN)
    pad_id = SPECIALS.index(PAD)

    def __init__(self, words: Iterable[str], *, counts: Sequence[int] | None = None, ngrams: NGrams | None = None):
        self.tokens: tuple[str, ...] = (*SPECIALS, *words)
        self.counts = None if counts is None else tuple(counts)
        self.ngrams = ngrams or NGrams()
        # The specials are left out: a text that spells "<pad>" must not become padding.
        self._ids = {token: number for number, token in enumerate(self.tokens) if number >= len(SPECIALS)}
        if len(self._ids) + len(SPECIALS) != len(self.tokens) or not self._ids.keys().isdisjoint(SPECIALS):
            raise ValueError("words: expected distinct words without <unk> and <pad>")
        self.end_id = len(SPECIALS) if self.words[:1] == (END,) else None
        if self.end_id is not None:  # nor can a text spell an end
            del self._ids[END]
        if self.counts is not None and (len(self.counts) != len(self.tokens) or min(self.counts) < 0):
            raise ValueError(f"counts: expected {len(self.tokens)}, none below 0")

    @classmethod
    def build(
        cls,
        token_lists: Iterable[Sequence[str]],
        *,
        max_size: int | None = 25_000,
        min_count: int = 1,
        with_end: bool = False,
    ) -> "Vocabulary":
        """Takes the most frequent tokens; among equally frequent ones the alphabet decides.

        Args:
            token_lists: The tokens of each training text.
            max_size: The most words to take, the two specials not counted; None: all.
            min_count: Rarer tokens are left out.
            with_end: Whether `<end>` comes before them.
        """
        counts = Counter(chain.from_iterable(token_lists))
        reserved = {*SPECIALS, END} if with_end else SPECIALS
        words = [token for token, count in counts.items() if count >= min_count and token not in reserved]
        words = sorted(words, key=lambda token: (-counts[token], token))[:max_size]
        return cls([END, *words] if with_end else words)

    def extended(self, other: "Vocabulary") -> "Vocabulary":
        """These words and, after them, those that only the other has, but for `<end>`."""
        return Vocabulary([*self.words, *(word for word in other.words if word != END and word not in self._ids)])

    def rows_in(self, other: "Vocabulary") -> np.ndarray:
        """The other's number of each of these tokens, int64 [num_tokens], -1 for those that it does not have."""
        numbers = {token: number for number, token in enumerate(other.tokens)}
        return np.array([numbers.get(token, -1) for token in self.tokens])

    def counted(
        self,
        token_lists: Iterable[Sequence[str]],
        *,
        longest: int = 1,
        max_size: int | None = None,
        min_count: int = 1,
    ) -> "Vocabulary":
        """The same words with their counts, and with runs of them that have numbers of their own.

        Args:
            token_lists: The tokens of each training text.
            longest: Words of the longest runs; 1: no runs.
            max_size: The most runs to take; None: all.
            min_count: Rarer runs are left out.
        """
        token_ids = [self._numbers(tokens) for tokens in token_lists]
        counts = Counter(chain.from_iterable(token_ids))
        ngrams = count_ngrams(
            token_ids, first_word=len(SPECIALS), longest=longest, max_size=max_size, min_count=min_count
        )
        return Vocabulary(self.words, counts=[counts[number] for number in range(len(self))], ngrams=NGrams(ngrams))

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens without the two specials."""
        return self.tokens[len(SPECIALS) :]

    def __len__(self) -> int:
        return len(self.tokens)

    def __eq__(self, other: object) -> bool:
        """Whether texts get the same numbers from both."""
        return isinstance(other, Vocabulary) and self._all == other._all

    __hash__ = None  # type: ignore[assignment]

    @property
    def _all(self) -> tuple[tuple[str, ...], tuple[NGram, ...]]:
        return self.tokens, tuple(self.ngrams.counts)

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Returns the tokens' numbers, int32 [num_tokens]; with runs of words [num_tokens, numbers], see `NGrams`."""
        ids = self._numbers(tokens)
        return self.ngrams.encode(ids) if len(self.ngrams) else np.array(ids, dtype=np.int32)

    def _numbers(self, tokens: Sequence[str]) -> list[int]:
        ids = self._ids
        return [ids.get(token, self.unknown_id) for token in tokens]

    def save(self, path: str | Path) -> None:
        """Writes one token a line, escaped as in JSON strings; a crash leaves the old file or the new one, whole.

        Counts follow after a tab; then come the runs of words, with tabs between words and count.
        """
        lines = [_escaped(token) for token in self.tokens]
        if self.counts is not None:
            lines = [f"{line}\t{count}" for line, count in zip(lines, self.counts, strict=True)]
        for ngram, count in self.ngrams.counts.items():
            lines.append("\t".join([*(_escaped(self.tokens[number]) for number in ngram), str(count)]))
        with replacing(Path(path)) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads what `save` wrote.

        Raises:
            InputError: The file cannot be read or is not a whole vocabulary file.
        """
        try:
            # Cut at "\n" alone: a token may hold characters that str.splitlines takes for line ends.
            *lines, rest = Path(path).read_bytes().decode("utf-8").split("\n")
            if rest:
                raise ValueError
            return cls._parsed([line.split("\t") for line in lines])
        except OSError as error:
            raise InputError(f"{path}: the vocabulary cannot be read: {error.strerror}") from error
        except (ValueError, LookupError) as error:  # also UnicodeDecodeError and JSONDecodeError
            raise InputError(
                f"{path}: expected a vocabulary file (one token a line, <unk> and <pad> first, none twice); "
                "the file is something else or damaged"
            ) from error

    @classmethod
    def _parsed(cls, rows: list[list[str]]) -> "Vocabulary":
        has_counts = len(rows[0]) > 1
        counts = [int(row.pop()) for row in rows] if has_counts else None
        rows = [[json.loads(f'"{token}"') for token in row] for row in rows]
        num_tokens = sum(len(row) == 1 for row in rows)
        tokens = [token for (token,) in rows[:num_tokens]]  # the runs of words come after all of them
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS or (counts is None and num_tokens < len(rows)):
            raise ValueError
        if counts is None:
            return cls(tokens[len(SPECIALS) :])
        ids = {token: number for number, token in enumerate(tokens)}
        ngrams = [tuple(ids[token] for token in row) for row in rows[num_tokens:]]
        return cls(
            tokens[len(SPECIALS) :],
            counts=counts[:num_tokens],
            ngrams=NGrams(zip(ngrams, counts[num_tokens:], strict=True)),
        )


def _escaped(token: str) -> str:
    return json.dumps(token, ensure_ascii=False)[1:-1]
