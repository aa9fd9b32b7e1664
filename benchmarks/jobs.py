"""Processes that run one after the other, or a few at once, each on cores of its own."""

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
    """Runs all commands, in their order; whoever stops asking stops them.

    Args:
      commands: by name.
      at_once: how many run at a time; the cores of this process are divided between them.
      logs: folder that receives what each writes, added to `NAME.log`.

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
            process.terminate()  # a trainer saves what it has
        for process, _ in running.values():
            process.wait()


def _start(command: Sequence[str], cores: set[int], log: Path) -> subprocess.Popen:
    with log.open("ab") as file, _on(cores):
        # In a session of its own, so that Ctrl-C does not reach it too: of two signals a trainer ends without saving.
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


@contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """What is started in here may use these cores alone, from its first instruction; none: all of this process's."""
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
    """The cores of this process, dealt out; one share is all of them, also where there is no such call, as on macOS."""
    if count == 1:
        return [set()]
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[number::count]) for number in range(count)]
