"""Measures what the reference layer gains by skipping rows that have ended, for several kinds of lengths.

python -m benchmarks.padding
"""

import argparse
import json
from pathlib import Path

from benchmarks import layer
from benchmarks.cases import Case
from benchmarks.environment import environment

PEERS = ("jaxrnn", "jaxrnn fused_scan", "PyTorch padded")
LENGTHS = ("uniform", "imdb", "full")


def main() -> None:
    """Prints a table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="time limit for the turns of one pass")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="precision")
    parser.add_argument("--lengths", nargs="+", default=LENGTHS, choices=LENGTHS, help="kinds of lengths")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results" / "padding.json",
        metavar="FILE",
        help="JSON file to write; default: benchmarks/results/padding.json",
    )
    arguments = parser.parse_args()
    rows = []
    print("| lengths | valid | pass | " + " | ".join(PEERS) + " |\n|---|---|---|" + "---|" * len(PEERS))
    for lengths in arguments.lengths:
        case = Case(lengths=lengths, dtype=arguments.dtype)
        row = layer.measure(case, peers=PEERS, seconds=arguments.seconds, with_products=False)
        for name, measured in row["passes"].items():
            seconds = " | ".join(f"{measured['seconds'][peer]['median']:.3f} s" for peer in PEERS)
            print(f"| {lengths} | {case.valid_share:.2f} | {name} | {seconds} |", flush=True)
        rows.append(row)
    result = {**environment("python -m benchmarks.padding"), "rows": rows}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
