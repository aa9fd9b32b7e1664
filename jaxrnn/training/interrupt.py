"""Stopping politely: the first Ctrl-C or SIGTERM is remembered, a second one ends the process at once."""

import os
import signal
from types import FrameType
from typing import Any

STOPPING = b"stopping: saving first (once more to stop at once)\n"
SHOW_CURSOR = b"\x1b[?25h"  # which the progress bar hides; the second signal leaves no time for it


class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt, it is no error
    """The run was asked to stop, and has saved."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.exit_status = 128 + signal_number  # the shell's convention


class InterruptGuard:
    """While entered, SIGINT and SIGTERM only set `signal_number`; the second of them ends the process.

    The second is left to the kernel: Python would first wait for a compilation, or for a disk that hangs.
    """

    signal_number: int | None = None

    def __enter__(self) -> "InterruptGuard":
        self._previous: dict[int, Any] = {
            number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)
        # print() may not be entered again from a handler.
        os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + STOPPING)
