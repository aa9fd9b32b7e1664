"""A dry run: one step and one save, and what the whole run would be."""

import time

import jax

from jaxrnn.training.checkpoint import Position
from jaxrnn.training.devices import Devices
from jaxrnn.training.loop import Trainer
from jaxrnn.training.progress import format_duration
from jaxrnn.training.step import TrainState
from jaxrnn.training.task import add


def rehearse(trainer: Trainer, state: TrainState, devices: Devices, *, num_parameters: int) -> list[str]:
    """Takes a step on a batch of the longest examples, takes it once more to time it, saves, and tells the plan.

    Args:
      trainer: The run, in a folder that will be thrown away.
      state: The first state; it is used up.
      devices: Where the state is.
      num_parameters: How many numbers are trained.

    Returns:
      Lines of text.
    """
    num_bytes = sum(each.nbytes for each in jax.tree.leaves(state))
    batch = max(trainer.train.epoch(0), key=lambda batch: batch.time)
    start = time.monotonic()
    first = jax.block_until_ready(trainer.train_step(state, batch))
    seconds_first = time.monotonic() - start
    start = time.monotonic()
    state = jax.block_until_ready(trainer.train_step(first.state, batch)).state
    seconds = time.monotonic() - start
    start = time.monotonic()
    trainer.checkpoints.save_latest(state, Position())
    trainer.checkpoints.close()
    seconds_saving = time.monotonic() - start
    shapes = ", ".join(f"{rows} x {time}" for rows, time in trainer.train.shapes)
    grid = devices.mesh.shape
    measured = trainer.task.describe(add({}, first.sums)) or "the loss or its gradient is not finite"
    return [
        f"steps       {trainer.num_steps:,} ({trainer.num_epochs} epochs of {trainer.train.num_batches:,})",
        f"shapes      {shapes} (batch x time), each compiled once",
        f"parameters  {num_parameters:,}; with the optimiser's state {num_bytes / 2**20:.1f} MiB",
        f"devices     {devices.mesh.size} ({grid['data']} for the rows x {grid['model']} for one copy of the weights), "
        f"{jax.process_count()} processes, {devices.mesh.devices.flat[0].device_kind}",
        f"a step      {seconds:.3f} s on the longest shape, {seconds_first:.1f} s with compiling; {measured}",
        f"a save      {seconds_saving:.2f} s",
        f"at most     {format_duration(seconds * trainer.num_steps)} of steps, if all were as long",
    ]
