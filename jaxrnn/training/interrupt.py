"""Handles Ctrl-C and SIGTERM: the first one is recorded so that the run can save, a second one ends the process."""

import os
import signal
from types import FrameType
from typing import Any

STOPPING = b"stopping: saving first (once more to stop at once)\n"
SHOW_CURSOR = b"\x1b[?25h"  # the progress bar hides the cursor, and a second signal leaves no time to show it again


class Interrupted(Exception):  # noqa: N818 - like KeyboardInterrupt it is not an error
    """The run was stopped by a signal, and has saved."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.exit_status = 128 + signal_number  # the shell's convention


class InterruptGuard:
    """While entered, the first SIGINT or SIGTERM only sets `signal_number`, and a second one ends the process.

    The second one is left to the kernel, because Python would first wait for a compilation, or for a disk that hangs.

    Attributes:
      signal_number: The number of the first signal; None if there was none.
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
        for handled_number in self._previous:
            signal.signal(handled_number, signal.SIG_DFL)
        # print() is not reentrant: a signal handler must not call it.
        os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + STOPPING)
