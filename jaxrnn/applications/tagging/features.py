"""What a model reads of words: their numbers, shapes, characters and pretrained vectors."""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxrnn.data.text import Vocabulary, load_vectors, vector_words
from jaxrnn.errors import InputError
from jaxrnn.files import replacing

WORDS_FILE, VECTORS_FILE = "vector_words.txt", "vectors.safetensors"


def spellings(word: str) -> Iterator[str]:
    """Yields the spellings under which a word may have a pretrained vector, the most faithful one first.

    >>> list(dict.fromkeys(spellings("#Sooooo")))
    ['#Sooooo', '#sooooo', 'sooooo', '#soo', '#so']
    """
    lower = word.lower()
    yield word
    yield lower
    yield html.unescape(lower)
    if len(lower) > 1 and lower[0] in "#@":
        yield lower[1:]
    yield re.sub(r"(.)\1{2,}", r"\1\1", lower)  # letters that were repeated for emphasis
    yield re.sub(r"(.)\1+", r"\1", lower)


def shape(word: str) -> str:
    """A word's shape: X for an upper-case letter, x for another letter, d for a digit; of a run, the first two.

    All else stays as it is.

    >>> [shape(word) for word in ("I", "Ada", "NASA", "iPhone5", "@ada_l", "2026-11-28")]
    ['X', 'Xxx', 'XX', 'xXxxd', '@xx_x', 'dd-dd-dd']
    """
    kinds = ("d" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word)
    return re.sub(r"(.)\1{2,}", r"\1\1", "".join(kinds), flags=re.DOTALL)


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Pretrained vectors.

    Attributes:
      words: The words that have one.
      matrix: float32 `[words, features]`; zero for `<unk>` and `<pad>`.
    """

    words: Vocabulary
    matrix: np.ndarray

    @classmethod
    def read(cls, path: str, *, features: int, max_words: int) -> "WordVectors":
        """Reads the first words of a file; see `jaxrnn.data.text.load_vectors`."""
        words = Vocabulary(vector_words(path, features=features, max_words=max_words))
        vectors = load_vectors(path, words.words, features=features).matrix
        num_specials = len(words) - len(words.words)
        return cls(words, np.concatenate([np.zeros((num_specials, features), np.float32), vectors]))

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether `save` has written its files there."""
        return (folder / VECTORS_FILE).exists() or (folder / WORDS_FILE).exists()

    def save(self, folder: Path) -> None:
        """Writes vector_words.txt and vectors.safetensors."""
        self.words.save(folder / WORDS_FILE)
        with replacing(folder / VECTORS_FILE) as temporary:
            save_file({"vectors": self.matrix}, temporary)

    @classmethod
    def load(cls, folder: Path) -> "WordVectors":
        """Reads what `save` wrote; InputError if a file is missing or damaged."""
        words, path = Vocabulary.load(folder / WORDS_FILE), folder / VECTORS_FILE
        try:
            matrix = load_file(path)["vectors"]
            if matrix.ndim != 2 or len(matrix) != len(words) or matrix.dtype != np.float32:
                raise ValueError
        except (OSError, SafetensorError, LookupError, ValueError) as error:
            raise InputError(
                f"{path}: expected the vectors of the {len(words):,} words of {WORDS_FILE} in a safetensors file; "
                "the file is something else or damaged"
            ) from error
        return cls(words, matrix)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, WordVectors) and self.words == other.words and np.array_equal(self.matrix, other.matrix)
        )

    __hash__ = None  # type: ignore[assignment]

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """The row of each word, int32 `[num_words]`: that of its first spelling that has one, else of `<unk>`."""
        found = [next((each for each in spellings(word) if each in self.words), word) for word in words]
        return self.words.encode(found)


class Encoded(NamedTuple):
    """A sentence as the model reads it.

    Attributes:
      words: Numbers of the words, lower-cased, int32 `[num_words]`.
      shapes: Numbers of the words' shapes, int32 `[num_words]`.
      characters: Numbers of each word's characters, int32 `[num_words, max_characters]`, padded at the end.
      vectors: Rows of the words' pretrained vectors, int32 `[num_words]`; None where there are none.
    """

    words: np.ndarray
    shapes: np.ndarray
    characters: np.ndarray
    vectors: np.ndarray | None


@dataclass(frozen=True)
class Encoder:
    """Turns words into numbers.

    Attributes:
      words: The lower-cased words that have trained vectors.
      shapes: The shapes that have trained vectors.
      characters: The characters that have trained vectors.
      vectors: The pretrained vectors; None where there are none.
      max_characters: Characters that are read of a word.
    """

    words: Vocabulary
    shapes: Vocabulary
    characters: Vocabulary
    vectors: WordVectors | None
    max_characters: int

    def __call__(self, tokens: Sequence[str]) -> Encoded:
        """Encodes a sentence."""
        characters = np.full((len(tokens), self.max_characters), Vocabulary.pad_id, np.int32)
        for row, token in zip(characters, tokens, strict=True):
            numbers = self.characters.encode(shortened(token, self.max_characters))
            row[: len(numbers)] = numbers
        return Encoded(
            words=self.words.encode([token.lower() for token in tokens]),
            shapes=self.shapes.encode([shape(token) for token in tokens]),
            characters=characters,
            vectors=None if self.vectors is None else self.vectors.rows(tokens),
        )


def shortened(word: str, max_characters: int) -> str:
    """A word without its middle if it is longer: its first and last characters say the most about it.

    >>> shortened("internationalisation", 6)
    'intion'
    """
    if len(word) <= max_characters:
        return word
    end = max_characters // 2
    return word[: max_characters - end] + word[len(word) - end :]
