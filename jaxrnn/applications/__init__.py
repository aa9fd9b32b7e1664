"""The applications, by the name that a config's `task` gives them. Each is imported when it is used."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jaxrnn.applications.base import Answer as Answer
from jaxrnn.applications.base import Application as Application
from jaxrnn.applications.base import NoAssets as NoAssets
from jaxrnn.applications.base import Prepared as Prepared
from jaxrnn.applications.base import Trained as Trained
from jaxrnn.applications.base import bucketed as bucketed
from jaxrnn.applications.base import build_network as build_network
from jaxrnn.applications.base import network_shapes as network_shapes
from jaxrnn.applications.layers import describe_layers as describe_layers
from jaxrnn.applications.layers import recurrent_layer as recurrent_layer
from jaxrnn.config import ArgumentParser, RunConfig, read_config, schema_of
from jaxrnn.errors import InputError
from jaxrnn.training import Checkpoints, RunFolder, check_memory

DEFAULT = "classification"

REGISTRY: dict[str, str | Application[Any, Any]] = {
    "classification": "jaxrnn.applications.classification",
    "language_modelling": "jaxrnn.applications.language_modelling",
    "tagging": "jaxrnn.applications.tagging",
}


def register(name: str, application: Application[Any, Any]) -> None:
    """Adds an application from outside, so that `task = NAME` finds it.

    Raises:
      ValueError: The name is taken.
    """
    if REGISTRY.get(name, application) is not application:
        raise ValueError(f"name: expected one that no application has, got {name!r}")
    REGISTRY[name] = application


def get(task: str) -> Application[Any, Any]:
    """The application of that name; InputError if there is none."""
    if task not in REGISTRY:
        raise InputError(f"task: expected one of {', '.join(REGISTRY)}, got {task!r}")
    entry = REGISTRY[task]
    return importlib.import_module(entry).APPLICATION if isinstance(entry, str) else entry


def load_config(path: Path | None, overrides: Sequence[str]) -> Any:
    """Reads a config file, then applies overrides; see `jaxrnn.config.read_config`.

    Returns:
      The config of the application that `task` names, by default the quickstart of classification.

    >>> load_config(None, ["model.cell=gru", "model.hidden=1_000"]).model.hidden
    1000
    """
    return read_config(
        path,
        overrides,
        config_of=lambda task: get(task).config,
        default_task=DEFAULT,
        tasks_with=lambda key: [task for task in REGISTRY if key in schema_of(get(task).config)],
    )


def application_of(run_dir: Path) -> Application[Any, Any]:
    """The application of a run; InputError if the folder holds none."""
    return get(load_config(RunFolder.open(run_dir).config, []).task)


def add_own_arguments(
    parser: ArgumentParser, arguments: Sequence[str], command: Literal["predict", "generate"]
) -> None:
    """Adds to a command's parser what the application of the run has of its own.

    Args:
      parser: The command's.
      arguments: The command's words. The folder of a run among them decides the application.
      command: Which of the application's arguments are added.

    Raises:
      InputError: No argument is the folder of a run.
    """
    words = [word for word in arguments if not word.startswith("-")]
    run_dir = next((word for word in words if (Path(word) / "config.toml").is_file()), words[0] if words else None)
    if run_dir is None:
        return
    application = application_of(Path(run_dir))
    group = parser.add_argument_group(f"arguments of {run_dir}")
    add = {"predict": application.add_predict_arguments, "generate": application.add_generate_arguments}[command]
    add(group)


def load(run_dir: str | Path) -> Trained:
    """Loads the best checkpoint of a run.

    Raises:
      InputError: The folder holds no run, or no checkpoint yet.
    """
    folder = RunFolder.open(Path(run_dir))
    config: RunConfig = load_config(folder.config, [])
    application = get(config.task)
    assets = application.assets.load(folder.path)
    shapes = network_shapes(application, config, assets)
    check_memory(shapes.parameters, num_parameters=shapes.num_parameters, purpose="loading")
    split = build_network(application, config, assets)
    checkpoints = Checkpoints(folder.checkpoints, read_only=True)
    try:
        parameters, best_step = checkpoints.restore_best(split.parameters)
    finally:
        checkpoints.close()
    return Trained(folder.path.resolve().name, application, config, assets, split, parameters, best_step)
