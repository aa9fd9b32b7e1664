"""Shows the progress of long work: as a bar on a terminal, elsewhere as a line from time to time."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

PLAIN_LINE_EVERY_SECONDS = 10.0


class ProgressDisplay:
    """Shows progress on standard error: `with ProgressDisplay(total=n) as display: display.update(...)`.

    Args:
      total: The number of units of work.
      completed: The number of units that an earlier start has done already.
      shown: Whether anything is shown. Only one of several processes shows progress.
    """

    def __init__(self, *, total: int, completed: int = 0, shown: bool = True):
        self._total = total
        self._first = completed
        self._console = Console(file=sys.stderr, highlight=False, quiet=not shown)
        self._bar: Progress | None = None
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("", total=total, completed=completed)

    def __enter__(self) -> "ProgressDisplay":
        self._start = self._last_line = time.monotonic()
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, completed: int, description: str) -> None:
        """Shows new progress.

        Args:
          completed: The number of units that are done, including those of earlier starts.
          description: What is being done.
        """
        if self._bar:
            self._bar.update(self._task, completed=completed, description=description)
            return
        now = time.monotonic()
        if now - self._last_line >= PLAIN_LINE_EVERY_SECONDS:
            self._last_line = now
            seconds_left = (now - self._start) / max(completed - self._first, 1) * (self._total - completed)
            percent = 100 * completed // max(self._total, 1)
            self.print(f"{description} · {percent} % · {format_duration(seconds_left)} left")

    def print(self, line: str) -> None:
        """Prints a line; if there is a bar, above it."""
        self._console.print(line, soft_wrap=True, markup=False)


def format_duration(seconds: float) -> str:
    """Formats seconds as h:mm:ss or m:ss.

    Example:
      >>> format_duration(75), format_duration(3675)
      ('1:15', '1:01:15')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
