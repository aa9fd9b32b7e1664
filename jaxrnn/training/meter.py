"""Measures what a run costs: seconds by activity, compilations and memory."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import jax

Activity = Literal["input", "step", "evaluation", "saving"]

COMPILATION = "/jax/core/compile/backend_compile_duration"


class Meter:
    """Measures from its construction until `close`.

    "input" is the time that the host spends on building batches, while the devices may be computing. "step" is the rest
    of a step, most of which is waiting for the devices. "saving" is the part of saving that does not run in the
    background.
    """

    def __init__(self) -> None:
        self._seconds: dict[Activity, float] = dict.fromkeys(("input", "step", "evaluation", "saving"), 0.0)
        self._compilations: list[float] = []
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILATION:
            self._compilations.append(duration_secs)

    @contextmanager
    def timing(self, activity: Activity) -> Iterator[None]:
        """Adds the time while entered to that of an activity."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._seconds[activity] += time.monotonic() - start

    def summary(self) -> dict[str, Any]:
        """Returns the seconds of each activity and of compiling, the number of compilations, and peak memory in bytes.

        The devices' memory is None where JAX does not report it, as on a CPU.
        """
        peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
        bytes_per_unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
        return {
            **{f"seconds_{name}": round(seconds, 2) for name, seconds in self._seconds.items()},
            "seconds_compiling": round(sum(self._compilations), 2),
            "compilations": len(self._compilations),
            "peak_host_bytes": bytes_per_unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "peak_device_bytes": max((peak for peak in peaks if peak is not None), default=None),
        }

    def close(self) -> None:
        """Stops counting compilations."""
        jax.monitoring.unregister_event_duration_listener(self._listen)


def describe(summary: dict[str, Any]) -> str:
    """Formats a summary as one line of text."""
    activities = (f"{name} {summary[f'seconds_{name}']:.1f} s" for name in ("input", "step", "evaluation", "saving"))
    device_bytes = summary["peak_device_bytes"]
    devices = "" if device_bytes is None else f" and {device_bytes / 2**30:.2f} GiB on a device"
    return (
        f"{', '.join(activities)}; {summary['compilations']} compilations in {summary['seconds_compiling']:.1f} s; "
        f"peak memory {summary['peak_host_bytes'] / 2**30:.2f} GiB{devices}"
    )
