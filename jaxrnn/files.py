"""Files that are written completely or not at all, and that are on the disk before anything relies on them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxrnn.errors import InputError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yields a temporary path to write to, which replaces `file` at the end; after an error `file` is unchanged.

    Raises:
      InputError: The file cannot be written, for example because the disk is full.
    """
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # a link here would redirect the write to its target
        yield temporary
        to_disk(temporary)
        os.replace(temporary, file)
        to_disk(file.parent)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on the disk and survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def expand_user(path: str) -> Path:
    """Replaces a leading `~` or `~user` by the home folder; an unknown user is left as it is written."""
    return Path(os.path.expanduser(path))
