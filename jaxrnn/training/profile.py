"""Records a profile of a few steps, for TensorBoard's profile plugin or Perfetto."""

from pathlib import Path

import jax

SKIPPED_STEPS = 3  # the first steps compile


class Profile:
    """Traces a number of steps, after skipping the first few of this start.

    Args:
      folder: The folder for the trace.
      num_steps: The number of steps to trace.
    """

    def __init__(self, folder: Path, *, num_steps: int):
        self._folder = folder
        self._num_steps = num_steps
        self._done = 0
        self._is_tracing = False

    def step_done(self) -> None:
        """Must be called after each step."""
        self._done += 1
        if self._done == SKIPPED_STEPS:
            jax.profiler.start_trace(self._folder)
            self._is_tracing = True
        if self._done == SKIPPED_STEPS + self._num_steps:
            self.close()

    def close(self) -> None:
        """Ends the trace and writes it, if one is being recorded."""
        if self._is_tracing:
            jax.profiler.stop_trace()
            self._is_tracing = False
