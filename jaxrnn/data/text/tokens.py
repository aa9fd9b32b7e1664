"""Splits texts into tokens by spaCy's rules for English, and caches the result on disk."""

import hashlib
import importlib.metadata
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from jaxrnn.data.text.quiet import quiet_datasets

logger = logging.getLogger("jaxrnn")

TOKENIZER = "spacy.blank('en')"
CHECKSUM = "sha256"


def tokenize(
    texts: Sequence[str], *, lowercase: bool = False, cache_dir: Path | None, keep: bool = True
) -> list[list[str]]:
    """Splits every text into tokens by spaCy's rules for English.

    No model is needed: `spacy.blank("en")` gives exactly the tokens of the model `en_core_web_sm`. It tokenizes about
    1,000 reviews a second (one core of an AMD EPYC, 2026-11), so the result is cached in `cache_dir` under a hash of
    the texts, the flag `lowercase` and spaCy's version. A cache that cannot be read or written costs time, but does not
    end the run.

    Args:
      texts: The texts. Lone surrogates, which cannot be encoded, become "?".
      lowercase: Whether the tokens are put into lower case, after the text has been split.
      cache_dir: The folder of the cache. None: nothing is read from a cache or written to one.
      keep: Whether a result that is not in the cache is written to it.

    Returns:
      The tokens of each text; an empty text has none.
    """
    texts = [_encodable(text) for text in texts]
    if cache_dir is None:
        return _cut(texts, lowercase)
    folder = Path(cache_dir) / f"tokens-{_fingerprint(texts, lowercase)}"
    token_lists = _read_cache(folder, len(texts))
    if token_lists is None:
        token_lists = _cut(texts, lowercase)
        if keep:
            _write_cache(folder, token_lists)
    return token_lists


def tokenize_with_spaces(texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Splits texts into pairs of a token and the white space after it. Joined together, the pairs are the text."""
    tokenizer = _make_tokenizer()
    return [[(token.text, token.whitespace_) for token in tokenizer(_encodable(text))] for text in texts]


def _encodable(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _make_tokenizer() -> Any:
    import spacy  # imported here, because it takes 2 s, which a run that finds its tokens in the cache saves

    return spacy.blank("en").tokenizer


def _cut(texts: Sequence[str], lowercase: bool) -> list[list[str]]:
    tokenizer = _make_tokenizer()
    is_terminal = sys.stderr.isatty()
    if not is_terminal:
        logger.info("data: tokenizing %s texts", f"{len(texts):,}")
    shown = track(texts, "tokenizing", console=Console(stderr=True), transient=True, disable=not is_terminal)
    token_lists = _share([token.lower_ if lowercase else token.text for token in tokenizer(text)] for text in shown)
    logger.info("data: %s texts have %s tokens", f"{len(texts):,}", f"{sum(map(len, token_lists)):,}")
    return token_lists


def _share(token_lists: Iterable[Sequence[str]]) -> list[list[str]]:
    # Equal tokens become the same string object: 8 million separate ones would take half a gigabyte.
    known: dict[str, str] = {}
    return [[known.setdefault(token, token) for token in tokens] for tokens in token_lists]


def _fingerprint(texts: Sequence[str], lowercase: bool) -> str:
    version = importlib.metadata.version("spacy")
    digest = hashlib.sha256(f"{TOKENIZER} {version} lowercase={lowercase}".encode())
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8, "little"))  # so that ["ab"] and ["a", "b"] differ
        digest.update(content)
    return digest.hexdigest()[:32]


def _write_cache(folder: Path, token_lists: list[list[str]]) -> None:
    import datasets  # imported here: a user who passes token ids need not install it

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The folder is written under another name and then renamed, so it is whole as soon as its name exists.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as scratch, quiet_datasets():
            data = Path(scratch) / "data"
            datasets.Dataset.from_dict(
                {"tokens": token_lists}, features=datasets.Features({"tokens": datasets.List(datasets.Value("string"))})
            ).save_to_disk(data)
            (data / CHECKSUM).write_text(_checksum(data))
            shutil.rmtree(folder, ignore_errors=True)  # the folder exists if it is damaged
            data.rename(folder)
    except OSError as error:
        logger.warning(
            "data: the tokens could not be kept in %s (%s); the next start will tokenize again", folder, error
        )


def _read_cache(folder: Path, num_texts: int) -> list[list[str]] | None:
    if not folder.exists():
        return None
    import datasets

    try:
        if (folder / CHECKSUM).read_text() != _checksum(folder):
            raise ValueError("the checksum differs")
        with quiet_datasets():
            table = datasets.Dataset.load_from_disk(folder)
            token_lists = _share(table["tokens"])
        if len(token_lists) != num_texts:
            raise ValueError(f"{len(token_lists)} rows for {num_texts} texts")
    except (OSError, ValueError, KeyError) as error:
        logger.warning("data: the token cache %s is damaged (%s); it is built again", folder, error)
        return None
    logger.info("data: read the tokens of %s texts from %s", f"{num_texts:,}", folder)
    return token_lists


def _checksum(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != CHECKSUM:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
