"""The tokens a model knows, and their numbers."""

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


class Vocabulary:
    """Tokens numbered from 0: `<unk>` for every token not listed, `<pad>` for padding, then the words.

    Args:
        words: The words without the two specials, most frequent first.

    Raises:
        ValueError: A word occurs twice or is a special.
    """

    unknown_id = SPECIALS.index(UNKNOWN)
    pad_id = SPECIALS.index(PAD)

    def __init__(self, words: Iterable[str]) -> None:
        self.tokens: tuple[str, ...] = (*SPECIALS, *words)
        # The specials are left out: a text that spells "<pad>" must not become padding.
        self._ids = {token: number for number, token in enumerate(self.tokens) if number >= len(SPECIALS)}
        if len(self._ids) + len(SPECIALS) != len(self.tokens) or not self._ids.keys().isdisjoint(SPECIALS):
            raise ValueError("words: expected distinct words without <unk> and <pad>")

    @classmethod
    def build(
        cls, token_lists: Iterable[Sequence[str]], *, max_size: int | None = 25_000, min_count: int = 1
    ) -> "Vocabulary":
        """Takes the most frequent tokens; among equally frequent ones the alphabet decides.

        Args:
            token_lists: The tokens of each training text.
            max_size: The most words to take, the two specials not counted; None: all.
            min_count: Rarer tokens are left out.
        """
        counts = Counter(chain.from_iterable(token_lists))
        words = [token for token, count in counts.items() if count >= min_count and token not in SPECIALS]
        return cls(sorted(words, key=lambda token: (-counts[token], token))[:max_size])

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens without the two specials."""
        return self.tokens[len(SPECIALS) :]

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Returns the tokens' numbers, int32 [num_tokens]."""
        ids = self._ids
        return np.array([ids.get(token, self.unknown_id) for token in tokens], dtype=np.int32)

    def save(self, path: str | Path) -> None:
        """Writes one token a line, escaped as in JSON strings; a crash leaves the old file or the new one, whole."""
        lines = [json.dumps(token, ensure_ascii=False)[1:-1] for token in self.tokens]
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
            tokens = [json.loads(f'"{line}"') for line in lines]
            if rest or tuple(tokens[: len(SPECIALS)]) != SPECIALS:
                raise ValueError
            return cls(tokens[len(SPECIALS) :])
        except OSError as error:
            raise InputError(f"{path}: the vocabulary cannot be read: {error.strerror}") from error
        except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
            raise InputError(
                f"{path}: expected a vocabulary file (one token a line, <unk> and <pad> first, none twice); "
                "the file is something else or damaged"
            ) from error
