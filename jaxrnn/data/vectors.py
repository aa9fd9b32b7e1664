"""Reads pretrained word vectors in the text format of GloVe, plain or compressed."""

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

from jaxrnn.errors import InputError
from jaxrnn.files import expand_user

logger = logging.getLogger("jaxrnn")

_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Vectors:
    """Word vectors.

    Attributes:
        matrix: float32 [num_words, features], zero rows for the words not found.
        found: bool [num_words].
        num_skipped_lines: Lines of the file that held no usable vector.
    """

    matrix: np.ndarray
    found: np.ndarray
    num_skipped_lines: int


def load_vectors(path: str | Path, words: Sequence[str], *, features: int) -> Vectors:
    """Reads the vectors of `words`, line by line: the file may be much larger than the memory.

    Words are compared as they are written; of a word that the file holds twice the first vector counts.

    Args:
        path: GloVe text (`word number number ...`), plain, .gz or .zip. Of several files in a .zip the one is taken
            whose vectors have `features` numbers.
        words: The words to look up, distinct.
        features: Numbers of each vector.

    Raises:
        InputError: The file is missing, damaged, not of this format, or its vectors have another width.
    """
    path = expand_user(str(path))
    try:
        with _open_lines(path, features) as lines:
            vectors = _parse(lines, words, features, path)
    except InputError:
        raise
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"vectors.path {path}: expected a readable .txt, .gz or .zip file of word vectors: {reason}"
        ) from error
    missed = [word for word, found in zip(words, vectors.found, strict=True) if not found]
    logger.info(
        "vectors: found %s of %s words (%.1f %%)%s",
        *(f"{len(words) - len(missed):,}", f"{len(words):,}", 100 * (1 - len(missed) / max(len(words), 1))),
        f", missed e.g. {' '.join(repr(word) for word in missed[:5])}" if missed else "",
    )
    return vectors


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
    found = ", ".join(f"{name}: {width}" for name, width in widths.items()) or "no files"
    raise InputError(
        f"vectors.path {path}: expected a file with vectors of {features} numbers, found {found}; "
        "change the embedding's width or the file"
    )


def _peek_width(lines: Iterable[bytes]) -> int:
    # The commonest of the first lines: one odd line must not decide.
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
                continue  # most lines end here: only wanted numbers are parsed
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
        common = skipped_widths.most_common(1)[0][0]
        raise InputError(
            f"vectors.path {path}: expected lines of a word and {features} numbers, but {num_skipped} of {num_lines} "
            f"lines are not, most have {common}; change the embedding's width or the file"
        )
    if num_skipped:
        logger.warning(
            "vectors: skipped %d of %d lines of %s without %d finite numbers; the first is line %d",
            *(num_skipped, num_lines, path, features, first_skipped),
        )
    return Vectors(matrix, found, num_skipped)


def _to_vector(numbers: bytes) -> np.ndarray | None:
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(number) for number in numbers.rstrip().split(b" ")], dtype=np.float32)
    except ValueError:
        return None
    return vector if np.isfinite(vector).all() else None
