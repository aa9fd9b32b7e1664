"""Trains a text classifier: `python -m jaxrnn.train [CONFIG.toml] [key=value ...]`."""

import argparse
import importlib.metadata
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxrnn import __version__, build
from jaxrnn.command_line import ArgumentParser, run
from jaxrnn.config import Config, describe_keys, differences, load_config, to_toml
from jaxrnn.data import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.models import num_parameters
from jaxrnn.training import (
    Checkpoints,
    Interrupted,
    Position,
    RunFolder,
    Trainer,
    TrainState,
    fit,
    make_evaluate,
    make_train_step,
    resume,
    split_model,
)

# Settings that may differ when a run goes on: they do not change its numbers.
WITHOUT_EFFECT = (
    "data.cache_dir:",
    "train.checkpoint_every_seconds:",
    "train.checkpoint_every_steps:",
    "train.keep_checkpoints:",
)


def main(arguments: Sequence[str]) -> int:
    """Trains a run, or goes on with one that was stopped; returns the exit status."""
    config = _parse(arguments)
    with RunFolder.create(expand_user(config.run_dir)) as folder:
        return _train(config, folder)


def _train(config: Config, folder: RunFolder) -> int:
    start = time.monotonic()
    environment = _environment()
    _compare_config(folder, config)
    if folder.result.exists():
        print(f"{folder.path}: this run is complete (see {folder.result}); for another, choose another run_dir")
        return 0

    # Text to batches of token numbers.
    data = build.build_data(config)
    seconds_preparing = time.monotonic() - start

    # The model, taken apart into parameters and a pure function of them, and the optimiser.
    build.check_memory(config, num_tokens=len(data.vocabulary), copies=4)
    classifier = build.build_model(config, num_tokens=len(data.vocabulary), num_classes=len(data.label_names))
    model = split_model(classifier)
    optimizer = build.build_optimizer(config)

    # The run's folder gets its files once all of the input has been read.
    parameters = build.with_vectors(config, model.parameters, data.vocabulary)
    _describe_or_compare(folder, config, data)

    # Training, from the start or from the latest checkpoint.
    trainer = Trainer(
        train_step=make_train_step(model, optimizer, config.seed),
        evaluate=make_evaluate(model),
        train=data.train,
        validation=data.validation,
        folder=folder,
        checkpoints=Checkpoints(
            folder.checkpoints, num_kept=config.train.keep_checkpoints, on_disk_first=folder.metrics
        ),
        num_epochs=config.train.epochs,
        max_steps=config.train.max_steps,
        checkpoint_every_seconds=config.train.checkpoint_every_seconds,
        checkpoint_every_steps=config.train.checkpoint_every_steps,
        skip_nonfinite=config.optim.skip_nonfinite,
    )
    try:
        first = TrainState.initial(parameters, optimizer)
        position = fit(trainer, *(resume(trainer, like=first) or (first, Position())))
        parameters, best_step = trainer.checkpoints.restore_best(model.parameters)
    except Interrupted as interrupted:
        print(f"stopped by {interrupted}; everything is saved, and the same command goes on from here")
        return interrupted.exit_status
    finally:
        trainer.checkpoints.close()

    # The best checkpoint on the test split: once, at the end.
    test = trainer.evaluate(parameters, data.test.in_order()).totals
    result = {
        "test_loss": test.mean_loss,
        "test_accuracy": test.accuracy,
        "test_examples": test.examples,
        "validation_loss": position.best_loss,
        "best_step": best_step,
        "skipped_steps": position.skipped,
        "num_parameters": num_parameters(classifier),
        "seconds_preparing": round(seconds_preparing, 1),
        "seconds_training": round(position.seconds, 1),
        **environment,
    }
    folder.write_json(folder.result, result)
    print(f"test loss {test.mean_loss:.4f}, test accuracy {100 * test.accuracy:.2f} % ({test.examples:,} examples)")
    print(f"best step {best_step}; everything is in {folder.path}")
    return 0


def _parse(arguments: Sequence[str]) -> Config:
    parser = ArgumentParser(
        prog="python -m jaxrnn.train",
        usage="%(prog)s [CONFIG.toml] [key=value ...]",
        description="Trains a text classifier. Without CONFIG.toml: the quickstart, which needs no download.",
        epilog=f"keys:\n{describe_keys()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arguments", nargs="*", metavar="CONFIG.toml | key=value", help="a config, then changes to it")
    words = parser.parse_args(arguments).arguments
    path, overrides = (Path(words[0]), words[1:]) if words and "=" not in words[0] else (None, words)
    return load_config(path, overrides)


def _compare_config(folder: RunFolder, config: Config) -> None:
    if not folder.config.exists():
        return
    different = differences(load_config(folder.config, []), config)
    different = [line for line in different if not line.startswith(WITHOUT_EFFECT)]
    if different:
        raise InputError(
            f"run_dir {folder.path}: holds a run with another config ({'; '.join(different)}); "
            "choose another run_dir, or the same config to go on with it"
        )


def _describe_or_compare(folder: RunFolder, config: Config, data: build.Data) -> None:
    if not folder.config.exists():
        folder.write_json(folder.labels, data.label_names)
        data.vocabulary.save(folder.vocabulary)
        folder.write_text(folder.config, to_toml(config))  # the last: it makes the folder that of a run
    elif (Vocabulary.load(folder.vocabulary).tokens, folder.read_labels()) != (
        data.vocabulary.tokens,
        data.label_names,
    ):
        raise InputError(f"run_dir {folder.path}: data.source has changed since this run began; choose another run_dir")


def _environment() -> dict[str, Any]:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "datasets", "spacy", "numpy")
    return {
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "python": platform.python_version(),
        "packages": {"jaxrnn": __version__} | {name: importlib.metadata.version(name) for name in packages},
    }


if __name__ == "__main__":
    run(main)
