"""Writes tables and plots of a measurement, FOLDER/REPORT.md and PNG files, from its JSON files alone.

    python -m benchmarks.report FOLDER [--readme]

With --readme the tables are also written to benchmarks/README.md, between its two marks.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.cudnn_tables import cudnn_section
from benchmarks.plots import draw_all
from benchmarks.tables import SECTIONS, header, options_section, targets_section

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def main(arguments: Sequence[str]) -> int:
    """Writes the report; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder with result.json and, if there is one, options.json"
    )
    parser.add_argument("--readme", action="store_true", help="also write the tables to benchmarks/README.md")
    options = parser.parse_args(arguments)
    if not (options.folder / "result.json").exists():
        parser.error(f"{options.folder}: expected a folder with result.json, as benchmarks.run writes it")
    result = load(options.folder)
    mpl.use("Agg")
    plots = draw_all(result, options.folder)
    lines = report(result)
    pictures = [line for name in plots for line in (f"![{name}]({name})", "")]
    text = "\n".join([f"# Measured: {result['preset']}", "", *lines, *pictures]).rstrip() + "\n"
    (options.folder / "REPORT.md").write_text(text)
    print(options.folder / "REPORT.md")
    if options.readme:
        place = os.path.relpath(options.folder, README.parent)
        _into_readme([*lines, *(f"![{name}]({place}/{name})" for name in plots)])
        print(README)
    return 0


def load(folder: Path) -> dict[str, Any]:
    """Reads the result and, if there is one, that of the options."""
    result = json.loads((folder / "result.json").read_text())
    options = folder / "options.json"
    return result | ({"options": json.loads(options.read_text())["rows"]} if options.exists() else {})


def report(result: dict[str, Any]) -> list[str]:
    """Returns the lines of the report, without plots."""
    lines = [*header(result), *targets_section(result)]
    for part, section in SECTIONS.items():
        if part in result["parts"]:
            lines += section(result["parts"][part], result)
    if result["environment"]["platform"] == "gpu" and "layer" in result["parts"]:
        lines += cudnn_section(result["parts"]["layer"], result)
    return [*lines, *(options_section(result["options"]) if "options" in result else [])]


def _into_readme(lines: list[str]) -> None:
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    deeper = [f"#{line}" if line.startswith("##") else line for line in lines]
    README.write_text("\n".join([f"{before}{BEGIN}", "", *deeper, "", f"{END}{after}"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
