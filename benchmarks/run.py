"""Measures, side by side in one run, and writes DIR/NAME.json; `report.py` makes tables and plots of it.

    python benchmarks/run.py --preset short|full|gpu [--out DIR] [--only layer,application,growth,start]

short: under 10 minutes on 2 cores. full: the whole grid. gpu: under 8 minutes on one GPU.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import application
import growth
import layer
import start
from cases import Case
from environment import environment
from report import write_report

HERE = Path(__file__).parent
REFERENCE = Case()  # the layer of the reference application
SHORT = [
    REFERENCE,
    REFERENCE._replace(dtype="bfloat16"),
    REFERENCE._replace(lengths="bucketed", time=128),
    REFERENCE._replace(lengths="uniform"),
    REFERENCE._replace(lengths="imdb"),
    REFERENCE._replace(cell="gru"),
]
GPU = [
    REFERENCE._replace(cell=cell, dtype=dtype, lengths=lengths)
    for cell in ("lstm", "gru")
    for dtype in ("float32", "bfloat16")
    for lengths in ("full", "uniform")
] + [Case(hidden=hidden, layers=1, directions=1, features=hidden) for hidden in (128, 512, 1024)]
FULL = [
    REFERENCE._replace(cell=cell, dtype=dtype, lengths=lengths)
    for cell in ("lstm", "gru", "elman")
    for dtype in ("float32", "bfloat16")
    for lengths in ("full", "bucketed", "uniform", "imdb")
] + [
    Case(batch=batch, time=length, features=features, hidden=hidden, layers=layers, directions=directions)
    for batch, length, features, hidden, layers, directions in (
        (1, 256, 100, 256, 1, 1),
        (16, 1024, 64, 128, 1, 1),
        (64, 128, 512, 512, 1, 1),
        (256, 64, 100, 256, 1, 2),
        (32, 256, 256, 1024, 1, 1),
    )
]
PRESETS = {"short": (SHORT, 10.0), "gpu": (GPU, 3.0), "full": (FULL, 15.0)}


def main() -> None:
    """Measures what is asked for, writes the JSON after each part, and makes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="short")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--only", default="layer,application,growth,start")
    arguments = parser.parse_args()
    cases, seconds = PRESETS[arguments.preset]
    parts = arguments.only.split(",")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.preset}.json"
    began = time.perf_counter()
    result = environment(" ".join(["python benchmarks/run.py", *sys.argv[1:]]))

    def save() -> None:
        result["seconds"] = time.perf_counter() - began
        path.write_text(json.dumps(result, indent=1) + "\n")

    result["matrix_rates"] = layer.matrix_rates(seconds=2)
    if "layer" in parts:
        result["layer"] = []
        for case in cases:
            print(f"{time.perf_counter() - began:5.0f} s  {case.name}", file=sys.stderr, flush=True)
            result["layer"].append(layer.measure(case, seconds=seconds))
            save()
    if "application" in parts:
        print(f"{time.perf_counter() - began:5.0f} s  application", file=sys.stderr, flush=True)
        result["application"] = application.measure(seconds=2 * seconds)
        save()
    if "growth" in parts:
        print(f"{time.perf_counter() - began:5.0f} s  growth", file=sys.stderr, flush=True)
        result["growth"] = growth.measure(seconds=seconds / 10)
        save()
    if "start" in parts:
        print(f"{time.perf_counter() - began:5.0f} s  start", file=sys.stderr, flush=True)
        result["start"] = start.measure(str(HERE))
    save()
    write_report(path)
    print(f"{path.with_suffix('.md')}: {result['seconds']:.0f} s")


if __name__ == "__main__":
    main()
