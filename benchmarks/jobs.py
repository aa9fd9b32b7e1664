"""Runs processes one after another, or a few at a time on separate cores."""

import os
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.2


def run_all(
    commands: Mapping[str, Sequence[str]], *, at_once: int, logs: Path
) -> Generator[tuple[str, int], None, None]:
    """Runs commands in their order. Closing the generator terminates those that are running.

    Args:
      commands: The commands, by name.
      at_once: The number of commands that run at a time; the cores of this process are divided among them.
      logs: The folder of the log files; the output of each command is appended to `NAME.log`.

    Yields:
      The name of each and its exit status, as soon as it ends.
    """
    waiting = dict(commands)
    free = _shares(at_once)
    running: dict[str, tuple[subprocess.Popen, set[int]]] = {}
    try:
        while waiting or running:
            while waiting and free:
                name = next(iter(waiting))
                cores = free.pop(0)
                running[name] = (_start(waiting.pop(name), cores, logs / f"{name}.log"), cores)
            ended = [name for name, (process, _) in running.items() if process.poll() is not None]
            for name in ended:
                process, cores = running.pop(name)
                free.append(cores)
                yield name, process.returncode
            if not ended:
                time.sleep(POLL_SECONDS)
    finally:
        for process, _ in running.values():
            process.terminate()  # on this signal the trainer saves
        for process, _ in running.values():
            process.wait()


def _start(command: Sequence[str], cores: set[int], log: Path) -> subprocess.Popen:
    with log.open("ab") as file, _on(cores):
        # Its own session, so that Ctrl-C does not reach it as well: a trainer that receives two signals ends unsaved.
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


@contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """While entered, processes that are started may use only these cores; an empty set means all of this process."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _shares(count: int) -> list[set[int]]:
    """Divides the cores of this process into sets. One set is empty and means all, as macOS lacks the system call."""
    if count == 1:
        return [set()]
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[number::count]) for number in range(count)]
