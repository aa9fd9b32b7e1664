"""Tagged sentences in tables, which have a list of tokens and a list of tags in each row: jsonl, parquet, the Hub."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxrnn.applications.tagging.conll import Sentence, read_lines, shown
from jaxrnn.errors import InputError

if TYPE_CHECKING:  # imported where it is used: who reads text files needs no such package
    import datasets


def read_jsonl(path: Path, *, token_column: str = "tokens", tag_column: str = "tags") -> list[Sentence]:
    """Reads a file with a JSON object a line.

    Args:
      path: The file, in UTF-8.
      token_column: Key of the list of tokens.
      tag_column: Key of the list of tags, which are strings or integers.

    Raises:
      InputError: The file cannot be read, or a line is not such an object.
    """

    def rows() -> Iterable[tuple[str, Any, Any]]:
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{place}: expected a JSON object, {error}") from error
            if not isinstance(row, dict):
                raise InputError(f"{place}: expected a JSON object, found {type(row).__name__}")
            _require_columns(place, row, token_column, tag_column)
            yield place, row[token_column], row[tag_column]

    return _sentences(rows(), str(path), names=None)


def read_parquet(path: Path, *, token_column: str = "tokens", tag_column: str = "tags") -> list[Sentence]:
    """Reads a parquet file; arguments as of `read_jsonl`."""
    import datasets
    import pyarrow
    import pyarrow.parquet

    try:
        table = datasets.Dataset(pyarrow.parquet.read_table(path))
    except (OSError, pyarrow.ArrowException) as error:
        first_line = str(error).partition("\n")[0]
        raise InputError(f"{path}: cannot be read as a parquet file: {first_line}") from error
    return from_dataset(table, str(path), token_column=token_column, tag_column=tag_column)


def from_dataset(
    table: "datasets.Dataset", origin: str, *, token_column: str = "tokens", tag_column: str = "tags"
) -> list[Sentence]:
    """Converts a data set of the library `datasets`; tags that are numbers get the names that the data set declares.

    Args:
      table: The data set.
      origin: What it is from, for messages.
      token_column: Column with the lists of tokens.
      tag_column: Column with the lists of tags.

    Raises:
      InputError: A column is missing, or a row has no such lists.
    """
    import datasets

    _require_columns(origin, table.features, token_column, tag_column)
    feature = getattr(table.features[tag_column], "feature", None)
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    try:
        rows = list(zip(table[token_column], table[tag_column], strict=True))
    except UnicodeDecodeError as error:  # parquet stores bytes
        raise InputError(f"{origin}: expected UTF-8: {error.reason}; convert the strings to UTF-8") from error
    placed = ((f"{origin}: row {number}", tokens, tags) for number, (tokens, tags) in enumerate(rows, start=1))
    return _sentences(placed, origin, names)


def _require_columns(place: str, columns: Mapping[str, Any], token_column: str, tag_column: str) -> None:
    for key, name in (("token", token_column), ("tag", tag_column)):
        if name not in columns:
            raise InputError(
                f"{place}: the column {name!r} is missing, found {', '.join(columns) or 'no columns'}; "
                f"name the {key}s' column with data.{key}_column"
            )


def _sentences(rows: Iterable[tuple[str, Any, Any]], origin: str, names: Sequence[str] | None) -> list[Sentence]:
    """Checks rows of a place, tokens and tags; rows without tokens are left out."""
    sentences = []
    for place, tokens, tags in rows:
        if not isinstance(tokens, list) or not all(map(_is_text, tokens)):
            raise InputError(f"{place}: expected a list of tokens, found {shown(tokens)}")
        if not isinstance(tags, list) or not all(type(tag) is int or _is_text(tag) for tag in tags):
            raise InputError(f"{place}: expected a list of tags, found {shown(tags)}")
        if len(tokens) != len(tags):
            raise InputError(f"{place}: expected a tag for each token, found {len(tokens)} tokens and {len(tags)} tags")
        if tokens:
            sentences.append(Sentence(tokens, [_name(tag, names, place) for tag in tags]))
    if not sentences:
        raise InputError(f"{origin}: expected sentences, found no tokens")
    return sentences


def _is_text(value: object) -> bool:
    # JSON can spell lone surrogates, which no file can hold.
    return isinstance(value, str) and value != "" and not re.search("[\ud800-\udfff]", value)


def _name(tag: str | int, names: Sequence[str] | None, place: str) -> str:
    if names is None or isinstance(tag, str):
        return str(tag)
    if not 0 <= tag < len(names):
        raise InputError(f"{place}: expected tags from 0 to {len(names) - 1}, found {tag}; leave the row out")
    return names[tag]
