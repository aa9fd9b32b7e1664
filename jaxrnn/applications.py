"""What differs between the tasks: data, model, and what is minimised and measured. All else is one."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flax import nnx

from jaxrnn import build, language
from jaxrnn.config import Config, load_config
from jaxrnn.data import Corpus
from jaxrnn.tasks import Task, classification, language_modelling
from jaxrnn.training import RunFolder


class Application(NamedTuple):
    """How the parts of a run are made."""

    build_corpus: Callable[[Config], Corpus]
    build_data: Callable[..., build.Data]
    build_model: Callable[[Config, build.Data], nnx.Module]
    build_task: Callable[[Config], Task]
    load: Callable[[Path], build.Classifier | language.Language]  # the best checkpoint of a run


APPLICATIONS = {
    "classification": Application(
        build_corpus=build.build_corpus,
        build_data=build.build_data,
        build_model=lambda config, data: build.build_model(config, data.vocabulary, num_classes=len(data.label_names)),
        build_task=lambda config: classification(label_smoothing=config.optim.label_smoothing),
        load=build.load_classifier,
    ),
    "language_modelling": Application(
        build_corpus=language.build_corpus,
        build_data=language.build_data,
        build_model=lambda config, data: language.build_model(config, data.vocabulary),
        build_task=lambda config: language_modelling(num_samples=config.optim.sampled_words),
        load=language.load_language_model,
    ),
}


def application_of(run_dir: Path) -> Application:
    """The application of a run, by its folder; InputError if it is not the folder of one."""
    return APPLICATIONS[load_config(RunFolder.open(run_dir).config, []).task]
