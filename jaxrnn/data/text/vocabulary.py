"""The tokens that a model knows, and their numbers."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from jaxrnn.errors import InputError
from jaxrnn.files import replacing

UNKNOWN = "<unk>"
PAD = "<pad>"
SPECIALS = (UNKNOWN, PAD)
END = "<end>"


class Vocabulary:
    """Tokens numbered from 0: `<unk>` for every token not listed, `<pad>` for padding, then the words.

    A language model's vocabulary has `<end>` as the first of the words: it ends a text, and a text begins after it.

    Args:
      words: The words without the two specials, most frequent first.

    Raises:
      ValueError: A word occurs twice or is a special.
    """

    unknown_id = SPECIALS.index(UNKNOWN)
    pad_id = SPECIALS.index(PAD)

    def __init__(self, words: Iterable[str]):
        self.tokens: tuple[str, ...] = (*SPECIALS, *words)
        # The specials are left out: a text that spells "<pad>" must not become padding.
        self._ids: dict[str, int] = {
            token: number for number, token in enumerate(self.tokens) if number >= len(SPECIALS)
        }
        if len(self._ids) + len(SPECIALS) != len(self.tokens) or not self._ids.keys().isdisjoint(SPECIALS):
            raise ValueError("words: expected distinct words without <unk> and <pad>")
        self.end_id = len(SPECIALS) if self.words[:1] == (END,) else None
        if self.end_id is not None:  # nor can a text spell an end
            del self._ids[END]

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
        reserved = {*SPECIALS, END}  # as the first word, a text's own "<end>" would be taken for the end of a text
        words = [token for token, count in counts.items() if count >= min_count and token not in reserved]
        words = sorted(words, key=lambda token: (-counts[token], token))[:max_size]
        return cls([*([END] if with_end else []), *words])

    def extended(self, other: "Vocabulary") -> "Vocabulary":
        """These words and, after them, those that only the other has, but for `<end>`."""
        return Vocabulary([*self.words, *(word for word in other.words if word != END and word not in self._ids)])

    def rows_in(self, other: "Vocabulary") -> np.ndarray:
        """The other's number of each of these tokens, int64 `[num_tokens]`, -1 for those that it does not have."""
        numbers = {token: number for number, token in enumerate(other.tokens)}
        return np.array([numbers.get(token, -1) for token in self.tokens])

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens without the two specials."""
        return self.tokens[len(SPECIALS) :]

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        """Whether texts get the same numbers from both."""
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    __hash__ = None  # type: ignore[assignment]

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Returns the tokens' numbers, int32 `[num_tokens]`."""
        ids = self._ids
        return np.array([ids.get(token, self.unknown_id) for token in tokens], dtype=np.int32)

    def save(self, path: Path) -> None:
        """Writes one token a line, escaped as in JSON strings; a crash leaves the old file or the new one, whole."""
        with replacing(path) as temporary:
            temporary.write_text(
                "".join(f"{escaped(token)}\n" for token in self.tokens), encoding="utf-8", newline="\n"
            )

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads what `save` wrote.

        Raises:
          InputError: The file cannot be read or is not a whole vocabulary file.
        """
        try:
            tokens = [unescaped(line) for line in read_lines(path)]
            if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
                raise ValueError
            return cls(tokens[len(SPECIALS) :])
        except OSError as error:
            raise InputError(f"{path}: the vocabulary cannot be read: {error.strerror}") from error
        except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
            raise InputError(
                f"{path}: expected a vocabulary file (one token a line, <unk> and <pad> first, none twice); "
                "the file is something else or damaged"
            ) from error


def escaped(token: str) -> str:
    """A token as a part of a line: line ends and tabs in it become the escapes of a JSON string."""
    return json.dumps(token, ensure_ascii=False)[1:-1]


def unescaped(text: str) -> str:
    """The token that `escaped` wrote; ValueError if the text is damaged."""
    return str(json.loads(f'"{text}"'))


def read_lines(path: Path) -> list[str]:
    """The lines of a file of which every line, also the last, has an end; ValueError if the last has none.

    They are cut at the newline alone: a token may hold characters that `str.splitlines` takes for line ends.
    """
    *lines, rest = path.read_bytes().decode("utf-8").split("\n")
    if rest:
        raise ValueError(f"{path}: the last line has no end")
    return lines
