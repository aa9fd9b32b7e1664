"""Several processes that train one model: how they connect, agree on decisions, and end together.

Every process runs the same program on its part of each batch; the first one writes the run folder.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxrnn.errors import InputError

CONNECT_SECONDS = 300  # the hosts of a cluster may start minutes apart
HEARTBEAT_SECONDS = 30  # a process without a heartbeat for this long counts as dead, and the others end


def connect(*, coordinator: str | None, num_processes: int | None, process: int | None) -> None:
    """Connects this process to the others; must be called before anything else that uses JAX.

    An argument that is None is taken from the environment: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID.
    If neither names a coordinator, this process is the only one.

    Args:
      coordinator: The `host:port` at which the first process listens, or "auto" to ask Slurm, Open MPI or a Cloud TPU.
      num_processes: The number of processes.
      process: The number of this process, from 0.

    Raises:
      InputError: A value is missing or wrong, or not all processes connected in time.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if coordinator is None:
        return
    if coordinator == "auto":
        coordinator = None
    else:
        num_processes = _from_environment("num_processes", num_processes, "JAX_NUM_PROCESSES")
        process = _from_environment("process", process, "JAX_PROCESS_ID")
        if not process < num_processes:
            raise InputError(f"devices.process: expected 0 to {num_processes - 1}, got {process}")
        if not coordinator.rpartition(":")[2].isdecimal():
            raise InputError(f"devices.coordinator: expected host:port, got {coordinator!r}")
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process,
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:  # JAX's own errors are RuntimeErrors
        raise InputError(f"devices.coordinator: the processes could not connect ({_first_line(error)})") from error


def is_first() -> bool:
    """Whether this process is the one that writes the run folder and prints."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Waits until every process has called this function with the same name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def largest(*values: int) -> tuple[int, ...]:
    """Returns the maximum of each value over all processes, so that all take the same decision."""
    if jax.process_count() == 1:
        return values
    return tuple(map(int, multihost_utils.process_allgather(np.array(values, np.int32)).max(axis=0)))


@contextmanager
def ending_together() -> Iterator[None]:
    """If one of several processes has an error, ends it at once; the others notice that it is gone, and end too.

    The usual cleaning up at exit would wait for processes that may be dead. Earlier checkpoints stay complete.
    """
    try:
        yield
    except Exception as error:
        if jax.process_count() == 1:
            raise
        if isinstance(error, InputError):
            status, message = 2, " ".join(str(error).split())
        else:
            status = 1
            message = (
                f"another process of this run has ended, or cannot be reached ({_first_line(error)}); "
                "start all of them again with the same command, and they go on from the latest checkpoint"
            )
        print(f"error: process {jax.process_index()} of {jax.process_count()}: {message}", file=sys.stderr, flush=True)
        os._exit(status)


def _from_environment(key: str, value: int | None, variable: str) -> int:
    text = os.environ.get(variable) if value is None else str(value)
    if text is None or not text.isdecimal():
        raise InputError(f"devices.{key}: expected a number here or in {variable}, got {text or 'none'}")
    return int(text)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:200]
