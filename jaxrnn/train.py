"""Trains a model: `python -m jaxrnn.train [CONFIG.toml] [key=value ...]`."""

import argparse
import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax

from jaxrnn import __version__, applications
from jaxrnn.applications import Application, Prepared, bucketed, build_network, network_shapes
from jaxrnn.config import ArgumentParser, RunConfig, Schema, describe_keys, differences, run, to_toml
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.training import (
    Checkpoints,
    Devices,
    Events,
    Interrupted,
    Meter,
    Optimizer,
    Position,
    Profile,
    RunFolder,
    SplitModel,
    Trainer,
    TrainState,
    check_memory,
    describe,
    fit,
    make_evaluate,
    make_optimizer,
    make_train_step,
    processes,
    rehearse,
    resume,
    train_seeds,
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
    application = applications.get(config.task)
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

        def train_one(config: RunConfig) -> int:
            with _open_folder(config) as folder:
                return _train(application, config, folder, is_dry_run=is_dry_run)

        if config.train.seeds == 1 or is_dry_run:
            return train_one(config)
        return _train_seeds(config, stack.enter_context(_open_folder(config)), train_one)


def _train(application: Application[Any, Any], config: RunConfig, folder: RunFolder, *, is_dry_run: bool) -> int:
    start = time.monotonic()
    meter = Meter()
    devices = _devices(config)
    _compare_config(folder, config)
    is_complete = folder.result.exists()
    processes.wait_for_all("the folder is read")
    if is_complete:
        print(f"{folder.path}: this run is complete (see {folder.result}); for another, choose another run_dir")
        return 0

    # 1. The data: examples as arrays, and the assets that were learnt from them.
    data = application.prepare(config, keep_cache=not is_dry_run)
    train = application.train_batches(config, data.assets, data.train, devices)
    validation, test = (bucketed(config, examples, devices) for examples in (data.validation, data.test))
    num_steps = _count_steps(config, train.num_batches)
    seconds_preparing = time.monotonic() - start

    # 2. The network, taken apart into parameters and a pure function of them; the task; the optimiser.
    optimizer = _optimizer(config, num_steps, network_shapes(application, config, data.assets))
    model = build_network(application, config, data.assets)
    task = application.task(config, data.assets)

    # 3. The first state. The run's folder gets its files once all of the input has been read.
    parameters = application.start(config, data.assets, model.parameters)
    carry = task.initial_carry(model.merge(parameters, model.rest), train.batch_size)
    first = _put(TrainState.initial(parameters, optimizer.transformation, carry), model, devices)
    if processes.is_first():
        _describe_or_compare(folder, config, data)
    processes.wait_for_all("the folder is written")

    # 4. Training, from the first state or from the latest checkpoint.
    trainer = Trainer(
        task=task,
        train_step=make_train_step(model, optimizer.transformation, config.seed, task=task, devices=devices),
        evaluate=make_evaluate(model, task=task, devices=devices),
        train=train,
        validation=validation,
        validation_examples=data.validation,
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
                print("\n".join(rehearse(trainer, first, devices, num_parameters=model.num_parameters)))
                return 0
            state, position = resume(trainer, like=first) or (first, Position())
            trainer = _observed(trainer, config, step=int(state.step))
            position = fit(trainer, state, position)
            parameters, best_step = trainer.checkpoints.restore_best(like=first.parameters)
    except Interrupted as interrupted:
        print(f"stopped by {interrupted}; everything is saved, and the same command goes on from here")
        return interrupted.exit_status
    finally:
        trainer.close()

    # 5. The best checkpoint on the test split: once, at the end.
    with meter.timing("evaluation"):
        sums = trainer.evaluate(parameters, test.in_order(), data.test if task.score else None).sums
    summary = meter.summary()
    result = {
        **{f"test_{name}": value for name, value in task.measure(sums).items()},
        f"test_{task.unit}": sums["count"],
        f"validation_{task.select}": position.best,
        "best_step": best_step,
        "skipped_steps": position.skipped,
        "num_parameters": model.num_parameters,
        "seconds_preparing": round(seconds_preparing, 1),
        "seconds_training": round(position.seconds, 1),
        "last_start": summary,
        **_environment(devices),
    }
    if processes.is_first():
        folder.write_json(folder.result, result)
    print(describe(summary))
    print(f"test {task.describe(sums)} ({sums['count']:,} {task.unit})")
    print(f"best step {best_step}; everything is in {folder.path}")
    return 0


def _parse(arguments: Sequence[str]) -> tuple[Any, bool]:
    parser = ArgumentParser(
        prog="python -m jaxrnn.train",
        usage="%(prog)s [CONFIG.toml] [key=value ...] [--dry-run]",
        description="Trains a model. Without CONFIG.toml: a classifier of BBC news, which needs no download.",
        epilog=_describe_settings(arguments) if {"-h", "--help"} & {*arguments} else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="CONFIG.toml | key=value", help="a config file, then changes to its settings"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="build everything, take one step, save it, and print the plan"
    )
    options = parser.parse_intermixed_args(arguments)
    words = options.arguments
    path, overrides = (Path(words[0]), words[1:]) if words and "=" not in words[0] else (None, words)
    return applications.load_config(path, overrides), options.dry_run


def _describe_settings(arguments: Sequence[str]) -> str:
    """The settings of the task that the arguments name, for `--help`."""
    words = [word for word in arguments if not word.startswith("-")]
    tables = Schema.parse_file(Path(words[0])) if words and "=" not in words[0] else {}
    named = [word.partition("=")[2] for word in words if word.startswith("task=")]
    task = (named or [str(tables.get("task", applications.DEFAULT))])[-1]
    others = ", ".join(f"task={name}" for name in applications.REGISTRY if name != task)
    keys = describe_keys(applications.get(task).config)
    return f"settings of task={task} (those of the other tasks: add {others}):\n{keys}"


def _open_folder(config: RunConfig) -> AbstractContextManager[RunFolder]:
    path = expand_user(config.run_dir)
    return RunFolder.create(path) if processes.is_first() else nullcontext(RunFolder(path))


def _devices(config: RunConfig) -> Devices:
    devices = config.devices
    try:
        return Devices.of(devices.per_process, model_parallel=devices.model_parallel, divide=devices.divide)
    except ValueError as error:
        raise InputError(f"devices.{error}") from error


def _put(state: TrainState, model: SplitModel, devices: Devices) -> TrainState:
    try:
        return state.put(model, devices)
    except ValueError as error:
        raise InputError(f"devices.{error}") from error


def _count_steps(config: RunConfig, num_batches: int) -> int:
    """Steps of the whole run, unless it stops early."""
    num_steps = config.train.epochs * num_batches
    return num_steps if config.train.max_steps is None else min(num_steps, config.train.max_steps)


def _optimizer(config: RunConfig, num_steps: int, shapes: SplitModel) -> Optimizer:
    """The optimiser, once it is certain that its state, the parameters and their gradient fit into memory."""
    optim = config.optim
    try:
        optimizer = make_optimizer(
            rule=optim.optimizer,
            learning_rate=optim.learning_rate,
            num_steps=num_steps,
            kinds=shapes.kinds,
            schedule=optim.schedule,
            warmup_steps=optim.warmup_steps,
            plateau_patience=optim.plateau_patience,
            plateau_factor=optim.plateau_factor,
            momentum=optim.momentum,
            weight_decay=optim.weight_decay,
            decay_embedding=optim.decay_embedding,
            max_grad_norm=optim.max_grad_norm,
            accumulate_steps=optim.accumulate_steps,
            ema_decay=optim.ema_decay,
            average_epochs=optim.average_epochs,
        )
    except ValueError as error:
        raise InputError(f"optim.{error}") from error
    state = jax.eval_shape(optimizer.transformation.init, shapes.parameters)
    gradient = shapes.parameters
    check_memory((shapes.parameters, gradient, state), num_parameters=shapes.num_parameters, purpose="training")
    return optimizer


def _observed(trainer: Trainer, config: RunConfig, *, step: int) -> Trainer:
    """The trainer with events and a profile, where they are asked for."""
    if not processes.is_first():
        return trainer
    path, steps = trainer.folder.path, config.train.profile_steps
    return trainer._replace(
        events=Events(path / "tensorboard", step=step) if config.train.tensorboard else None,
        profile=None if steps is None else Profile(path / "profile", num_steps=steps),
    )


def _compare_config(folder: RunFolder, config: RunConfig) -> None:
    if not folder.config.exists():
        return
    folder.read_description()
    earlier = applications.load_config(folder.config, [])
    free = WITHOUT_EFFECT
    if min(earlier.train.seeds, config.train.seeds) > 1:  # one seed alone has no folders below it
        free += ("train.seeds:",)
    different = [line for line in differences(earlier, config) if not line.startswith(free)]
    if different:
        raise InputError(
            f"run_dir {folder.path}: holds a run with another config ({'; '.join(different)}); "
            "choose another run_dir, or the same config to go on with it"
        )


def _describe_or_compare(folder: RunFolder, config: RunConfig, data: Prepared[Any]) -> None:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    fingerprints = {split: examples.fingerprint for split, examples in splits.items()}
    if not folder.config.exists():
        folder.describe(fingerprints)
        data.assets.save(folder.path)
        folder.write_text(folder.config, to_toml(config))  # the last: it makes the folder that of a run
        return
    earlier = folder.read_description()
    changed = [split for split, fingerprint in fingerprints.items() if earlier.get(split) != fingerprint]
    if changed or type(data.assets).load(folder.path) != data.assets:
        what = f"the {', '.join(changed)} examples of data.source" if changed else "data.source"
        verb = "have" if changed else "has"
        raise InputError(f"run_dir {folder.path}: {what} {verb} changed since this run began; choose another run_dir")


def _train_seeds(config: RunConfig, folder: RunFolder, train: Callable[[RunConfig], int]) -> int:
    """Trains all seeds of a run. Their split is the first seed's; initial weights, order and dropout differ."""
    _compare_config(folder, config)
    if processes.is_first():
        folder.describe({})
        folder.write_text(folder.config, to_toml(config))

    def train_one(seed: int, path: Path) -> int:
        data, one = replace(config.data, split_seed=config.split_seed), replace(config.train, seeds=1)
        return train(replace(config, seed=seed, run_dir=str(path), data=data, train=one))

    def show(name: str, value: float) -> str:
        return f"{value:.0f} s" if name.startswith("seconds") else f"{value:.4f}"

    return train_seeds(range(config.seed, config.seed + config.train.seeds), folder, train_one, show)


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
