"""Reads tables with the columns `text` and `label`: parquet, csv and jsonl files, and datasets on the Hub."""

import csv
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

from jaxrnn.data.text.corpus import UNLABELLED, Records, concatenate, split_names
from jaxrnn.data.text.quiet import quiet_datasets
from jaxrnn.errors import InputError

if TYPE_CHECKING:  # imported in the functions that use it: a user who passes token ids need not install it
    import datasets

logger = logging.getLogger("jaxrnn")

FILE_KINDS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".json": "json"}
HUB_TIMEOUT_SECONDS = 5.0


def read_table(path: Path, *, labelled: bool = True) -> Records:
    """Reads one .parquet, .csv, .jsonl or .json file.

    Args:
      path: The file.
      labelled: Whether the labels are read too. If not, no column `label` is needed.

    Raises:
      InputError: The file cannot be read, lacks a column, or has a row without a text or label.
    """
    import datasets

    kind = FILE_KINDS[path.suffix.lower()]
    options: dict[str, Any] = {}
    # By default the library caches what it reads in the home folder; a temporary folder leaves nothing behind.
    with TemporaryDirectory(prefix="jaxrnn-") as scratch:
        readable = path if kind == "parquet" else _repair_encoding(path, Path(scratch))
        if kind == "csv":
            header = _read_csv_header(readable, str(path))
            _require_columns(header, str(path), labelled=labelled)
            # With its defaults pandas turns the text "NA" into a missing value and "007" into 7.
            options = {"converters": dict.fromkeys(header, str), "na_filter": False}
        try:
            with quiet_datasets():
                table = datasets.load_dataset(
                    kind, data_files=str(readable), split="train", cache_dir=scratch, keep_in_memory=True, **options
                )
        except Exception as error:  # pandas, pyarrow and datasets raise different errors for the same broken file
            raise InputError(
                f"data.source {path}: cannot be read as a {path.suffix} file with {_columns(labelled)}: "
                f"{_first_line(error.__cause__ or error)}"
            ) from error
        assert isinstance(table, datasets.Dataset)
        return _to_records(table, str(path), labelled=labelled)


def read_table_folder(folder: Path, *, labelled: bool = True) -> dict[str, Records]:
    """Reads the files of a folder that are named by split: `train.parquet`, `train-00000-of-00002.parquet`, `test.csv`.

    Args:
      folder: The folder.
      labelled: Whether the labels are read too.

    Returns:
      The records of each split that was found; empty when no file has such a name.

    Raises:
      InputError: A split has several files that are not numbered shards, or a file cannot be read.
    """
    files: dict[str, list[Path]] = {}
    names = split_names(labelled=labelled)
    for path in sorted(folder.iterdir()):
        split = names.get(re.split(r"[-.]", path.name)[0])
        if split and path.suffix.lower() in FILE_KINDS and path.is_file():
            files.setdefault(split, []).append(path)
    for split, paths in files.items():
        is_sharded = all(re.search(r"-\d+-of-\d+\.", path.name) for path in paths)
        if len(paths) > 1 and not is_sharded:
            raise InputError(
                f"data.source {folder}: expected one file for the {split} split, found {paths[0].name} and "
                f"{paths[1].name}; name the file to use as data.source or move the other away"
            )
    return {
        split: concatenate([read_table(path, labelled=labelled) for path in paths]) for split, paths in files.items()
    }


def read_hub(name: str, *, labelled: bool = True) -> dict[str, Records]:
    """Reads texts from the Hugging Face Hub.

    Args:
        name: The dataset's name, such as "stanfordnlp/imdb".
        labelled: Whether labels are asked for.

    Raises:
        InputError: The Hub cannot be reached, or has no such dataset with columns `text` and `label`.
    """
    names = split_names(labelled=labelled)
    found = load_hub(name, instead="a folder, a .parquet, .csv or .jsonl file, or 'bbc-news'")
    return {
        names[str(split)]: _to_records(table, f"{name} ({split} split)", labelled=labelled)
        for split, table in found.items()
        if split in names
    }


def load_hub(name: str, *, instead: str) -> "datasets.DatasetDict":
    """Downloads a dataset from the Hugging Face Hub, or takes the copy an earlier download left in its cache.

    Args:
        name: The dataset's name.
        instead: What may be given in its place, for the message.

    Raises:
        InputError: The Hub cannot be reached, or has no such dataset.
    """
    import datasets

    with quiet_datasets(), _hub_offline_if_unreachable() as is_offline:
        try:
            found = datasets.load_dataset(name)
        except Exception as error:  # network, permissions, a missing dataset, a loading script: many unrelated types
            reason = "the Hub cannot be reached (is the network off?)" if is_offline else _first_line(error)
            raise InputError(
                f"data.source {name!r}: neither an existing path nor a dataset that can be had from the Hugging Face "
                f"Hub: {reason}; give {instead}"
            ) from error
    assert isinstance(found, datasets.DatasetDict)
    return found


def _to_records(table: "datasets.Dataset", origin: str, *, labelled: bool) -> Records:
    import datasets

    _require_columns(table.column_names, origin, labelled=labelled)
    text_feature = table.features["text"]
    if not (isinstance(text_feature, datasets.Value) and text_feature.dtype in ("string", "large_string", "null")):
        raise InputError(f"data.source {origin}: expected strings in the column 'text', found {text_feature}")
    texts = _read_texts(table, origin)
    if not labelled:
        return Records(origin, texts, [UNLABELLED] * len(texts))
    labels = _require_values(list(table["label"]), "label", origin)
    for row, label in enumerate(labels, start=1):
        if not isinstance(label, int | str):
            raise InputError(
                f"data.source {origin}: row {row} (the first row is 1) has the label {label!r}; "
                "expected an integer or a string"
            )
    label_feature = table.features["label"]
    if not isinstance(label_feature, datasets.ClassLabel):
        return Records(origin, texts, [str(label) for label in labels])
    if any(label < 0 for label in labels):  # -1 is how the Hub marks an unlabelled example
        raise InputError(f"data.source {origin}: holds unlabelled examples (label -1); leave them out")
    return Records(origin, texts, [label_feature.names[label] for label in labels], tuple(label_feature.names))


def _read_texts(table: "datasets.Dataset", origin: str) -> list[str]:
    try:
        return _require_values(list(table["text"]), "text", origin)
    except UnicodeDecodeError:
        import datasets

        # Parquet stores bytes, and some writers store invalid UTF-8 in a column whose type is text.
        as_bytes = table.select_columns("text").cast_column("text", datasets.Value("binary"))
    contents = _require_values(list(as_bytes["text"]), "text", origin)
    texts = [content.decode("utf-8", errors="replace") for content in contents]
    damaged = [row for row, content in enumerate(contents, start=1) if texts[row - 1].encode() != content]
    logger.warning(
        "data: %d of %d texts in %s are not valid UTF-8, their bad bytes were replaced; the first is row %d",
        len(damaged),
        len(texts),
        origin,
        damaged[0],
    )
    return texts


def _require_values(values: list[Any], column: str, origin: str) -> list[Any]:
    for row, value in enumerate(values, start=1):
        # A csv file has no missing values, only empty ones. An empty text is a text, but an empty label is no label.
        if value is None or (column == "label" and value == ""):
            raise InputError(
                f"data.source {origin}: row {row} (the first row is 1) has no {column}; fill it in or leave it out"
            )
    return values


def _repair_encoding(path: Path, scratch: Path) -> Path:
    """Returns the path itself, or that of a repaired copy where it has a byte order mark or invalid UTF-8."""
    content = path.read_bytes()
    text = content.decode("utf-8-sig", errors="replace")
    repaired = text.encode()
    if repaired == content:
        return path
    num_replaced = text.count("\ufffd") - content.decode("utf-8-sig", errors="ignore").count("\ufffd")
    if num_replaced:
        logger.warning("data: %s is not valid UTF-8, %d bad byte sequences were replaced", path, num_replaced)
    copy = scratch / path.name
    copy.write_bytes(repaired)
    return copy


def _read_csv_header(path: Path, origin: str) -> list[str]:
    header, first_row = [], []
    # This reader refuses a field of more than 131,072 characters, which pandas can read.
    with path.open(encoding="utf-8", newline="") as lines, suppress(csv.Error):
        reader = csv.reader(lines)
        header = next(reader, [])
        first_row = next(reader, [])
    # If the first row is too long, pandas takes its first field for an index and shifts all columns. It reports later
    # rows that are too long by itself.
    if len(first_row) > len(header):
        raise InputError(
            f"data.source {origin}: row 1 has {len(first_row)} fields, the header names {len(header)}; "
            "put texts with commas in double quotes"
        )
    return header


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _require_columns(names: list[str], origin: str, *, labelled: bool) -> None:
    for column in ("text", "label") if labelled else ("text",):
        if column not in names:
            raise InputError(
                f"data.source {origin}: the column {column!r} is missing, found {', '.join(names) or 'no columns'}; "
                f"expected {_columns(labelled)}"
            )


def _columns(labelled: bool) -> str:
    return "the columns text and label" if labelled else "a column text"


@contextmanager
def _hub_offline_if_unreachable() -> Iterator[bool]:
    import huggingface_hub

    # Without a network the library retries for 24 s before it gives up (datasets 5.2, 2026-11). One short request
    # decides at once, and in offline mode the library still reads from its cache.
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT_SECONDS)
    except Exception:  # the session's HTTP library differs between versions of huggingface_hub
        with (
            mock.patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", True),
            mock.patch("datasets.config.HF_HUB_OFFLINE", True),
        ):
            yield True
    else:
        yield False
