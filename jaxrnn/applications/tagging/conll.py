"""Tagged sentences in text files: CoNLL columns and CoNLL-U."""

import gzip
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxrnn.errors import InputError


class Sentence(NamedTuple):
    """A sentence.

    Attributes:
      tokens: Its tokens, at least one.
      tags: The tag of each token; empty where no tags were asked for.
    """

    tokens: Sequence[str]
    tags: Sequence[str]


# Columns of CoNLL-U by name, see https://universaldependencies.org/format.html.
CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_DOCUMENT = "-DOCSTART-"
# "# newdoc", "# sent_id = 7" and "# id 7 domain=en" are comments; the tokens "#" and "#hashtag" are not.
_COMMENT = re.compile(r"#\s*(newdoc|newpar|id\s|[\w:.-]+\s*=\s)")
_SPACE = " \t\r\n"  # no other white space: a token may be a no-break space


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file, which is decompressed if its name ends in .gz.

    Raises:
      InputError: The file cannot be read, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"{path}: cannot be read: {reason}") from error
    # Cut at "\n" alone: a token may be a character that str.splitlines takes for the end of a line.
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode().split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: expected UTF-8, found the byte 0x{content[error.start]:02x}; convert the file to UTF-8"
        ) from error


def parse_columns(
    lines: Iterable[str], origin: str, *, token_column: int = 1, tag_column: int | None = -1
) -> list[Sentence]:
    """Parses sentences with a token a line, its columns separated by tabs or white space, an empty line between them.

    Columns are separated by tabs if the first token's line has one; then a token may contain spaces. Comments above a
    sentence and lines that mark a document (-DOCSTART-) are left out.

    Args:
      lines: The lines.
      origin: What the lines are from, for messages.
      token_column: Number of the column with the tokens, from 1.
      tag_column: Number of the column with the tags, from 1; -1 is the last, and None reads no tags.

    Raises:
      InputError: There are no tokens, or a line has too few columns.
    """
    num_columns = max(token_column, 1 if tag_column is None else tag_column if tag_column > 0 else token_column + 1)
    has_tabs: bool | None = None
    sentences = _Sentences(origin)
    for number, line in enumerate(lines, start=1):
        stripped = line.strip(_SPACE)
        if not stripped:
            sentences.end()
            continue
        if sentences.is_between and _COMMENT.match(line) and not (has_tabs and "\t" in line):
            continue
        if has_tabs is None:
            has_tabs = "\t" in stripped
        fields = [field.strip(_SPACE) for field in line.split("\t")] if has_tabs else re.split(r"[ \t]+", stripped)
        if fields[0] == _DOCUMENT:
            sentences.end()
            continue
        if len(fields) < num_columns:
            raise InputError(
                f"{origin}:{number}: expected at least {num_columns} columns separated by "
                f"{'tabs' if has_tabs else 'white space'}, found {len(fields)}: {shown(stripped)}"
            )
        tags = () if tag_column is None else (fields[tag_column - 1 if tag_column > 0 else tag_column],)
        sentences.add(number, fields[token_column - 1], *tags)
    return sentences.all()


def parse_conllu(lines: Iterable[str], origin: str, *, tag_column: str | None = "upos") -> list[Sentence]:
    """Parses the words of CoNLL-U; ranges such as 3-4 and empty nodes such as 5.1 are left out.

    Args:
      lines: The lines.
      origin: What the lines are from, for messages.
      tag_column: Name of the column with the tags, such as "upos" or "xpos"; None reads no tags.

    Raises:
      InputError: There are no words, or a line is not of this format or has no tag.
    """
    sentences = _Sentences(origin)
    for number, line in enumerate(lines, start=1):
        if not line.strip(_SPACE):
            sentences.end()
            continue
        if line.startswith("#"):
            continue
        columns = line.rstrip("\r").split("\t")
        fields: dict[str, str] = dict(zip(CONLLU_COLUMNS, columns, strict=False))
        if len(columns) != len(CONLLU_COLUMNS):
            raise InputError(
                f"{origin}:{number}: expected the {len(CONLLU_COLUMNS)} columns of CoNLL-U separated by tabs, found "
                f"{len(columns)}: {shown(line)}"
            )
        if not re.fullmatch(r"\d+([-.]\d+)?", fields["id"]):
            raise InputError(f"{origin}:{number}: expected a word's number in the first column, found {fields['id']!r}")
        if not fields["id"].isdecimal():
            continue
        if tag_column is not None and fields[tag_column] == "_":
            raise InputError(f"{origin}:{number}: the word {fields['form']!r} has no tag in the column {tag_column}")
        sentences.add(number, fields["form"], *(() if tag_column is None else (fields[tag_column],)))
    return sentences.all()


class _Sentences:
    """Collects sentences token by token."""

    def __init__(self, origin: str):
        self._origin = origin
        self._sentences: list[Sentence] = []
        self._tokens: list[str] = []
        self._tags: list[str] = []

    @property
    def is_between(self) -> bool:
        """Whether the next token begins a sentence."""
        return not self._tokens

    def add(self, number: int, token: str, *tags: str) -> None:
        """Adds a token, with its tag if there is one, that stands in the line of this number."""
        if not token or "" in tags:
            raise InputError(f"{self._origin}:{number}: expected a token and its tag, found an empty column")
        self._tokens.append(token)
        self._tags.extend(tags)

    def end(self) -> None:
        """Ends the sentence, if one has begun."""
        if self._tokens:
            self._sentences.append(Sentence(self._tokens, self._tags))
            self._tokens, self._tags = [], []

    def all(self) -> list[Sentence]:
        """Returns all sentences, of which there must be one."""
        self.end()
        if not self._sentences:
            raise InputError(f"{self._origin}: expected sentences, found no tokens")
        return self._sentences


def shown(value: object) -> str:
    """What was found in a file, on one short line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
