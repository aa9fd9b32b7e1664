"""Stopping politely: the first Ctrl-C or SIGTERM is remembered, a second one acts at once."""

import signal
import sys
from types import FrameType
from typing import Any


class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt, it is no error
    """The run was asked to stop, and has saved."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.exit_status = 128 + signal_number  # the shell's convention


class InterruptGuard:
    """While entered, SIGINT and SIGTERM only set `signal_number`; the second of them gets its usual effect."""

    signal_number: int | None = None

    def __enter__(self) -> "InterruptGuard":
        self._previous: dict[int, Any] = {
            number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        self._restore()
        print("stopping: saving first (once more to stop at once)", file=sys.stderr)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def raise_if_set(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)
