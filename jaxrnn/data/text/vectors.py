"""Reads pretrained word vectors in GloVe's text format, plain or compressed."""

import gzip
import logging
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from jaxrnn.data.text.vocabulary import SPECIALS, Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user

logger = logging.getLogger("jaxrnn")

_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Vectors:
    """Word vectors.

    Attributes:
      matrix: The vectors, float32 `[num_words, features]`; zero for the words that were not found.
      found: Whether each word was found, bool `[num_words]`.
      num_skipped_lines: The number of lines in the file without a usable vector.
    """

    matrix: np.ndarray
    found: np.ndarray
    num_skipped_lines: int


def load_vectors(path: str | Path, words: Sequence[str], *, features: int) -> Vectors:
    """Reads the vectors of `words` line by line, so the file may be much larger than the memory.

    Upper and lower case are distinguished. Where the file has several vectors for a word, the first is used.

    Args:
      path: A text file in GloVe's format (`word number number ...`), plain, .gz or .zip. If a .zip holds several files,
        the one whose vectors have `features` numbers is read.
      words: The distinct words to look up.
      features: The number of features of each vector.

    Raises:
      InputError: The file is missing, damaged, not of this format, or its vectors have another width.
    """
    path = expand_user(str(path))
    with _readable(path), _open_lines(path, features) as lines:
        vectors = _parse(lines, words, features, path)
    missing = [word for word, is_found in zip(words, vectors.found, strict=True) if not is_found]
    logger.info(
        "vectors: found %s of %s words (%.1f %%)%s",
        f"{len(words) - len(missing):,}",
        f"{len(words):,}",
        100 * (1 - len(missing) / max(len(words), 1)),
        f", missed e.g. {' '.join(repr(word) for word in missing[:5])}" if missing else "",
    )
    return vectors


def with_vectors(embedding: np.ndarray, vocabulary: Vocabulary, path: str | Path) -> np.ndarray:
    """Returns an embedding in which words have their pretrained vectors, `[num_tokens, features]`.

    Args:
      embedding: The initial weights, `[num_tokens, features]`. Words without a pretrained vector keep them; the rows of
        `<unk>` and `<pad>` become zero.
      vocabulary: The tokens of the rows.
      path: The file of vectors, as for `load_vectors`.

    Raises:
      InputError: The file cannot be used, as for `load_vectors`.
    """
    vectors = load_vectors(path, vocabulary.words, features=embedding.shape[1])
    num_specials = len(vocabulary) - len(vocabulary.words)
    words = np.where(vectors.found[:, None], vectors.matrix, embedding[num_specials:])
    return np.concatenate([np.zeros_like(embedding[:num_specials]), words])


def vector_words(path: str | Path, *, features: int, max_words: int) -> list[str]:
    """The first words of a file of vectors, each once; arguments and errors as of `load_vectors`.

    Args:
      path: The file.
      features: Numbers of each vector.
      max_words: The most words to return. Files of vectors begin with the most frequent words.
    """
    path = expand_user(str(path))
    words: dict[str, None] = {}
    with _readable(path), _open_lines(path, features) as lines:
        for line in lines:
            if _count_numbers(line) == features:
                words.setdefault(line.partition(b" ")[0].decode(errors="replace"))
            if len(words) == max_words:
                break
    return [word for word in words if word not in SPECIALS]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what the system or a decompressor says of a file into an InputError."""
    try:
        yield
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"vectors.path {path}: expected a readable .txt, .gz or .zip file of word vectors: {reason}"
        ) from error


@contextmanager
def _open_lines(path: Path, features: int) -> Iterator[Iterable[bytes]]:
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic == b"PK" or path.suffix == ".zip":
            with zipfile.ZipFile(file) as archive, archive.open(_pick_member(archive, features, path)) as lines:
                yield lines
        elif magic == b"\x1f\x8b" or path.suffix == ".gz":
            with gzip.open(file) as lines:
                yield lines
        else:
            yield file


def _pick_member(archive: zipfile.ZipFile, features: int, path: Path) -> zipfile.ZipInfo:
    widths = {}
    for member in archive.infolist():
        if not member.is_dir():
            with archive.open(member) as lines:
                widths[member.filename] = _peek_width(lines)
            if widths[member.filename] == features:
                return member
    found_widths = ", ".join(f"{name}: {width}" for name, width in widths.items()) or "no files"
    raise InputError(
        f"vectors.path {path}: expected a file with vectors of {features} numbers, found {found_widths}; "
        "change the embedding's width or the file"
    )


def _peek_width(lines: Iterable[bytes]) -> int:
    # The most common width of the first lines, because a single odd line must not decide.
    widths = Counter(_count_numbers(line) for line in islice(lines, 16))
    return widths.most_common(1)[0][0] if widths else 0


def _count_numbers(line: bytes) -> int:
    return line.rstrip().count(b" ")


def _parse(lines: Iterable[bytes], words: Sequence[str], features: int, path: Path) -> Vectors:
    rows = {word.encode("utf-8", "surrogatepass"): row for row, word in enumerate(words)}
    matrix = np.zeros((len(words), features), dtype=np.float32)
    found = np.zeros(len(words), dtype=bool)
    num_lines = 0
    skipped_widths: Counter[int] = Counter()
    first_skipped = 0
    for num_lines, line in enumerate(lines, start=1):
        width = _count_numbers(line)
        if width == features:
            word, _, numbers = line.partition(b" ")
            row = rows.get(word)
            if row is None or found[row]:
                continue  # most lines end here: only the numbers of wanted words are parsed
            vector = _to_vector(numbers)
            if vector is not None:
                matrix[row] = vector
                found[row] = True
                continue
        skipped_widths[width] += 1
        first_skipped = first_skipped or num_lines
    if num_lines == 0:
        raise InputError(f"vectors.path {path}: expected lines of a word and {features} numbers, the file is empty")
    num_skipped = skipped_widths.total()
    if num_skipped * 2 >= num_lines:
        most_common = skipped_widths.most_common(1)[0][0]
        raise InputError(
            f"vectors.path {path}: expected lines of a word and {features} numbers, but {num_skipped} of {num_lines} "
            f"lines are not, most have {most_common}; change the embedding's width or the file"
        )
    if num_skipped:
        logger.warning(
            "vectors: skipped %d of %d lines of %s without %d finite numbers; the first is line %d",
            num_skipped,
            num_lines,
            path,
            features,
            first_skipped,
        )
    return Vectors(matrix, found, num_skipped)


def _to_vector(numbers: bytes) -> np.ndarray | None:
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(number) for number in numbers.rstrip().split(b" ")], dtype=np.float32)
    except ValueError:
        return None
    return vector if np.isfinite(vector).all() else None
