"""Measures, side by side in one run, and writes FOLDER/result.json.

    python -m benchmarks.run short|full|gpu|smoke --out FOLDER [--data IMDB] [--only PART ...] [--budget SECONDS]
        [--continue]

short: under 10 minutes on 2 cores. full: the whole grid. gpu: under 8 minutes on one GPU. smoke: nothing of worth, in
seconds. The file is written after every measurement, so that a run that is stopped leaves what it has. Then
`python -m benchmarks.report FOLDER` makes tables and plots of it.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.agreement import WrongOutputError
from benchmarks.device import set_precision
from benchmarks.environment import command_line, environment
from benchmarks.matrix import large_rates
from benchmarks.presets import PRESETS, Preset


def main(arguments: Sequence[str]) -> int:
    """Runs a preset; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="receives result.json")
    parser.add_argument(
        "--data", metavar="PATH", help="IMDB, for the application; without: random tokens, real lengths"
    )
    parser.add_argument("--only", nargs="+", metavar="PART", help="layer, padding, application, growth, memory, start")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin no measurement after this time")
    parser.add_argument(
        "--continue", dest="resume", action="store_true", help="leave out what FOLDER's result.json has, and add to it"
    )
    options = parser.parse_args(arguments)
    preset = PRESETS[options.preset](options.data)
    jobs = [job for job in preset.jobs if not options.only or job.part in options.only]
    if not jobs:
        parser.error(f"--only: expected some of {', '.join(sorted({job.part for job in preset.jobs}))}")
    preset = preset._replace(jobs=jobs, budget=options.budget or preset.budget)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        measure(preset, options.preset, options.out / "result.json", resume=options.resume)
    except WrongOutputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


def measure(preset: Preset, name: str, path: Path, *, resume: bool = False) -> None:
    """Runs the jobs and writes the result after each; with `resume` those that the result of an earlier run lacks.

    A job that fails is kept as its message, but for a wrong output, which ends the run.

    Raises:
      WrongOutputError: a library computes other numbers than ours.
    """
    start = time.perf_counter()
    result: dict[str, Any] = {
        "preset": name,
        "precision": set_precision(),
        "matrix_size": preset.matrix_size,
        "matrix_rates": large_rates(size=preset.matrix_size),
        "parts": {},
        "failed": {},
        "left_out": [],
    }
    if resume and path.exists():
        result["parts"] = json.loads(path.read_text())["parts"]
        found = {(part, row["job"]) for part, rows in result["parts"].items() for row in rows}
        preset = preset._replace(jobs=[job for job in preset.jobs if (job.part, job.name) not in found])

    def save() -> None:
        result["seconds"] = time.perf_counter() - start
        path.write_text(json.dumps(result | {"environment": environment(command_line())}, indent=1) + "\n")

    for k, job in enumerate(preset.jobs):
        elapsed = time.perf_counter() - start
        if elapsed > preset.budget:
            result["left_out"] = [f"{job.part}: {job.name}" for job in preset.jobs[k:]]
            break
        print(f"{elapsed:5.0f} s  {job.part}: {job.name}", file=sys.stderr, flush=True)
        try:
            row = {"job": job.name, **job.run()}
            result["parts"].setdefault(job.part, []).append(row)
        except WrongOutputError:
            raise
        except Exception as error:  # hours of other measurements are not lost for one
            message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            result["failed"][f"{job.part}: {job.name}"] = message
            print(f"         failed: {message}", file=sys.stderr, flush=True)
        save()
    # Once more, and the better counts: a limit that was measured in a bad moment is none.
    again = large_rates(size=preset.matrix_size)
    result["matrix_rates"] = {dtype: max(rate, again[dtype]) for dtype, rate in result["matrix_rates"].items()}
    save()
    print(f"{path}: {len(preset.jobs) - len(result['left_out'])} measurements, {result['seconds']:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
