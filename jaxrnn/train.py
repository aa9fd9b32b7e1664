"""Trains a text classifier or a language model: `python -m jaxrnn.train [CONFIG.toml] [key=value ...]`."""

import argparse
import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax

from jaxrnn import __version__, build
from jaxrnn.applications import APPLICATIONS
from jaxrnn.command_line import ArgumentParser, run
from jaxrnn.config import Config, describe_keys, differences, load_config, to_toml
from jaxrnn.data import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.memory import check_memory, copies_in_training
from jaxrnn.models import num_parameters
from jaxrnn.pretrained import load_pretrained
from jaxrnn.seeds import train_seeds
from jaxrnn.training import (
    Checkpoints,
    Devices,
    Events,
    Interrupted,
    Meter,
    Perturbations,
    Position,
    Profile,
    RunFolder,
    Trainer,
    TrainState,
    describe,
    fit,
    make_evaluate,
    make_train_step,
    processes,
    rehearse,
    resume,
    split_model,
)

# Settings that may differ when a run goes on: they do not change its numbers.
WITHOUT_EFFECT = (
    "data.cache_dir:",
    "train.checkpoint_every_seconds:",
    "train.checkpoint_every_steps:",
    "train.keep_checkpoints:",
    "train.tensorboard:",
    "train.profile_steps:",
    "devices.",  # but for rounding
)


def main(arguments: Sequence[str]) -> int:
    """Trains a run, or goes on with one that was stopped; returns the exit status."""
    config, is_dry_run = _parse(arguments)
    processes.connect(
        coordinator=config.devices.coordinator,
        num_processes=config.devices.num_processes,
        process=config.devices.process,
    )
    with ExitStack() as stack:
        stack.enter_context(processes.ending_together())
        if not processes.is_first():  # which speaks for all
            logging.getLogger("jaxrnn").setLevel(logging.WARNING)
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        if is_dry_run:
            config = replace(config, run_dir=stack.enter_context(TemporaryDirectory()))

        def train_one(config: Config) -> int:
            with _open_folder(config) as folder:
                return _train(config, folder, is_dry_run=is_dry_run)

        if config.train.seeds == 1 or is_dry_run:
            return train_one(config)
        folder = stack.enter_context(_open_folder(config))
        _compare_config(folder, config)
        return train_seeds(config, folder, train_one)


def _train(config: Config, folder: RunFolder, *, is_dry_run: bool) -> int:
    start = time.monotonic()
    meter = Meter()
    devices = build.build_devices(config)
    environment = _environment(devices)
    _compare_config(folder, config)
    is_complete = folder.result.exists()
    processes.wait_for_all("the folder is read")
    if is_complete:
        print(f"{folder.path}: this run is complete (see {folder.result}); for another, choose another run_dir")
        return 0

    # Text to batches of token numbers. What differs between a classifier and a language model is in `application`.
    application = APPLICATIONS[config.task]
    task = application.build_task(config)
    pretrained = load_pretrained(config)
    data = application.build_data(config, devices, known=pretrained.vocabulary, keep_tokens=not is_dry_run)
    num_steps = build.count_steps(config, data.train)
    seconds_preparing = time.monotonic() - start

    # The model, taken apart into parameters and a pure function of them, and the optimiser.
    num_tokens, num_ngrams = len(data.vocabulary), len(data.vocabulary.ngrams)
    check_memory(config, num_tokens=num_tokens, num_ngrams=num_ngrams, copies=copies_in_training(config))
    network = application.build_model(config, data)
    model = split_model(network)
    optimizer = build.build_optimizer(config, num_steps=num_steps)

    # The run's folder gets its files once all of the input has been read.
    parameters = build.with_vectors(config, model.parameters, data.vocabulary)
    parameters = build.with_ratios(parameters, data)
    parameters = devices.put(pretrained.put_into(parameters, data.vocabulary))
    carry = task.initial_carry(network, data.train.shapes[0][0])
    first = devices.put(TrainState.initial(parameters, optimizer.transformation, carry))
    if processes.is_first():
        _describe_or_compare(folder, config, data)
    processes.wait_for_all("the folder is written")

    # Training, from the start or from the latest checkpoint.
    trainer = Trainer(
        task=task,
        train_step=make_train_step(
            model,
            optimizer.transformation,
            config.seed,
            devices=devices,
            task=task,
            perturbations=Perturbations(config.optim.adversarial, config.optim.virtual_adversarial),
        ),
        evaluate=make_evaluate(model, devices=devices, task=task),
        train=data.train,
        validation=data.validation,
        folder=folder,
        checkpoints=Checkpoints(
            folder.checkpoints, num_kept=config.train.keep_checkpoints, on_disk_first=folder.metrics
        ),
        optimizer=optimizer,
        num_epochs=config.train.epochs,
        num_steps=num_steps,
        patience=config.train.patience,
        checkpoint_every_seconds=config.train.checkpoint_every_seconds,
        checkpoint_every_steps=config.train.checkpoint_every_steps,
        skip_nonfinite=config.optim.skip_nonfinite,
        meter=meter,
    )
    try:
        with processes.ending_together():
            if is_dry_run:
                plan = rehearse(trainer, first, devices, num_parameters=num_parameters(network))
                print("\n".join(plan))
                return 0
            state, position = resume(trainer, like=first) or (first, Position())
            trainer = _observed(trainer, config, step=int(state.step))
            position = fit(trainer, state, position)
            parameters, best_step = trainer.checkpoints.restore_best(parameters)
    except Interrupted as interrupted:
        print(f"stopped by {interrupted}; everything is saved, and the same command goes on from here")
        return interrupted.exit_status
    finally:
        trainer.close()

    # The best checkpoint on the test split: once, at the end.
    with meter.timing("evaluation"):
        test = trainer.evaluate(parameters, data.test.in_order()).totals
    summary = meter.summary()
    result = {
        **{f"test_{name}": value for name, value in task.metrics(test).items()},
        f"test_{task.unit}": test.examples,
        "validation_loss": position.best_loss,
        "best_step": best_step,
        "skipped_steps": position.skipped,
        "num_parameters": num_parameters(network),
        "seconds_preparing": round(seconds_preparing, 1),
        "seconds_training": round(position.seconds, 1),
        "last_start": summary,
        **environment,
    }
    if processes.is_first():
        folder.write_json(folder.result, result)
    print(describe(summary))
    print(f"test {task.describe(test)} ({test.examples:,} {task.unit})")
    print(f"best step {best_step}; everything is in {folder.path}")
    return 0


def _parse(arguments: Sequence[str]) -> tuple[Config, bool]:
    parser = ArgumentParser(
        prog="python -m jaxrnn.train",
        usage="%(prog)s [CONFIG.toml] [key=value ...] [--dry-run]",
        description="Trains a text classifier or a language model. Without CONFIG.toml: the quickstart, which needs no "
        "download.",
        epilog=f"keys:\n{describe_keys()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arguments", nargs="*", metavar="CONFIG.toml | key=value", help="a config, then changes to it")
    parser.add_argument("--dry-run", action="store_true", help="build everything, take one step, save, print the plan")
    options = parser.parse_intermixed_args(arguments)
    words = options.arguments
    path, overrides = (Path(words[0]), words[1:]) if words and "=" not in words[0] else (None, words)
    return load_config(path, overrides), options.dry_run


def _open_folder(config: Config) -> AbstractContextManager[RunFolder]:
    path = expand_user(config.run_dir)
    return RunFolder.create(path) if processes.is_first() else nullcontext(RunFolder(path))


def _observed(trainer: Trainer, config: Config, *, step: int) -> Trainer:
    """With events and a profile, where they are asked for."""
    if not processes.is_first():
        return trainer
    path, steps = trainer.folder.path, config.train.profile_steps
    return trainer._replace(
        events=Events(path / "tensorboard", step=step) if config.train.tensorboard else None,
        profile=None if steps is None else Profile(path / "profile", num_steps=steps),
    )


def _compare_config(folder: RunFolder, config: Config) -> None:
    if not folder.config.exists():
        return
    earlier = load_config(folder.config, [])
    # More seeds may be asked for later, or fewer; one alone has no folders below.
    free = WITHOUT_EFFECT + ("train.seeds:",) * (min(earlier.train.seeds, config.train.seeds) > 1)
    different = [line for line in differences(earlier, config) if not line.startswith(free)]
    if different:
        raise InputError(
            f"run_dir {folder.path}: holds a run with another config ({'; '.join(different)}); "
            "choose another run_dir, or the same config to go on with it"
        )


def _describe_or_compare(folder: RunFolder, config: Config, data: build.Data) -> None:
    if not folder.config.exists():
        if data.label_names:
            folder.write_json(folder.labels, data.label_names)
        data.vocabulary.save(folder.vocabulary)
        folder.write_text(folder.config, to_toml(config))  # the last: it makes the folder that of a run
    elif (Vocabulary.load(folder.vocabulary), folder.read_labels()) != (data.vocabulary, data.label_names):
        raise InputError(f"run_dir {folder.path}: data.source has changed since this run began; choose another run_dir")


def _environment(devices: Devices) -> dict[str, Any]:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "datasets", "spacy", "numpy")
    return {
        "device": jax.devices()[0].device_kind,
        "num_devices": devices.mesh.size,
        "python": platform.python_version(),
        "packages": {"jaxrnn": __version__} | {name: importlib.metadata.version(name) for name in packages},
    }


if __name__ == "__main__":
    run(main)
