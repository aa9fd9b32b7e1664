"""Files that are written whole or not at all, and are on the disk before anything relies on them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxrnn.errors import InputError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to, beside `file`, that takes its place at the end; after an error `file` is as it was.

    Raises:
      InputError: it cannot be written, as on a full disk.
    """
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # if it is a link, nothing is written through it
        yield temporary
        to_disk(temporary)
        os.replace(temporary, file)
        to_disk(file.parent)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Waits until what was written to a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def expand_user(path: str) -> Path:
    """The path with a leading ~ replaced; the home of an unknown user stays as it is written."""
    return Path(os.path.expanduser(path))
