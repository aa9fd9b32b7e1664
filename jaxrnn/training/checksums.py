"""Checksums of the files in a folder. They are written last, so they also show that the folder is complete."""

import hashlib
import json
from pathlib import Path

from jaxrnn.files import replacing, to_disk

CHECKSUMS = "checksums.json"


class DamagedError(Exception):
    """A folder does not hold what was written to it. The message names the file, but not the folder."""


class UnfinishedError(DamagedError):
    """A folder has no checksums."""


def seal(folder: Path) -> None:
    """Forces all files of a folder to the disk and then writes their checksums."""
    files = _files(folder)
    sums = {name: _checksum(path) for name, path in files.items()}
    for path in (*files.values(), *(path for path in folder.rglob("*") if path.is_dir()), folder, folder.parent):
        to_disk(path)
    with replacing(folder / CHECKSUMS) as temporary:
        temporary.write_text(json.dumps(sums, indent=1), encoding="utf-8")


def verify(folder: Path) -> None:
    """Compares the files of a folder with their checksums.

    Raises:
      UnfinishedError: There are no checksums.
      DamagedError: A file is missing, was added or has changed, or the checksums are damaged.
    """
    try:
        expected = json.loads((folder / CHECKSUMS).read_bytes())
        names = set(expected.keys())
    except FileNotFoundError:
        raise UnfinishedError(f"it was not written to the end: {CHECKSUMS!r} is missing") from None
    except (ValueError, AttributeError, RecursionError):
        raise DamagedError(f"{CHECKSUMS} is damaged") from None
    files = _files(folder)
    for name in sorted(names | files.keys()):
        if name not in files:
            raise DamagedError(f"{name!r} is missing")
        if name not in names:
            raise DamagedError(f"{name!r} was not there when it was written")
        if expected[name] != _checksum(files[name]):
            raise DamagedError(f"{name!r} has changed since it was written")


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CHECKSUMS
    }


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
