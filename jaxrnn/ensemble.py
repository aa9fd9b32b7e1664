"""Loads trained classifiers that are to predict together: the seeds of one run, or several runs."""

from collections.abc import Sequence
from pathlib import Path

from jaxrnn.build import Classifier, load_classifier
from jaxrnn.config import differences, load_config
from jaxrnn.errors import InputError
from jaxrnn.seeds import run_dirs
from jaxrnn.training import RunFolder

# Settings in which the members may differ: they only decide how the weights came about.
MAY_DIFFER = (
    *("seed:", "run_dir:", "train.", "optim.", "vectors.", "devices."),
    *("model.dropout_rate:", "model.init:", "model.dtype:"),
    *("data.source:", "data.split_seed:", "data.cache_dir:"),
    *("data.max_train_examples:", "data.validation_fraction:", "data.test_fraction:"),
    *("data.vocabulary_size:", "data.min_count:", "data.max_shapes:"),  # the vocabularies themselves are compared
)


def find_members(paths: Sequence[Path]) -> list[Path]:
    """The folders of single runs among these folders: one of several seeds stands for all of them."""
    members = []
    for path in paths:
        config = RunFolder(path).config
        members += run_dirs(path, load_config(config, [])) if config.is_file() else [path]
    return members


def load_ensemble(folders: Sequence[Path]) -> Classifier:
    """The best checkpoints of one or several runs as one classifier, whose probabilities are the mean of theirs.

    Args:
      folders: of single runs.

    Raises:
      InputError: a folder holds no trained classifier, or they do not read and answer alike.
    """
    first, *others = (load_classifier(folder) for folder in folders)
    for folder, other in zip(folders[1:], others, strict=True):
        different = [line for line in differences(first.config, other.config) if not line.startswith(MAY_DIFFER)]
        if other.label_names != first.label_names:
            different.append("other classes")
        if other.vocabulary != first.vocabulary:
            different.append("another vocabulary")
        if different:
            raise InputError(
                f"{folder}: cannot predict together with {folders[0]} ({'; '.join(different)}); an ensemble needs one "
                "model and one vocabulary, as train.seeds makes them"
            )
    return first._replace(others=tuple(other.parameters for other in others))
