"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to, beside `file`, that takes its place at the end; after an error `file` is as it was."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def expand_user(path: str) -> Path:
    """The path with a leading ~ replaced; the home of an unknown user stays as it is written."""
    return Path(os.path.expanduser(path))
