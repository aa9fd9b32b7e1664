"""Tables (Markdown) and plots (PNG) of a measurement, beside its JSON.

python benchmarks/report.py FILE.json
"""

import json
import sys
from pathlib import Path
from typing import Any


def write_report(path: Path) -> None:
    """Writes FILE.md and FILE_*.png from FILE.json."""
    result = json.loads(path.read_text())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in result["matrix_rates"].items())
    lines = [
        f"# Measured: {path.stem}",
        "",
        f"`{result['command']}`, {result['date']}, commit {result['commit']}; {result['device']} "
        f"({result['processor']}, {result['cores']} cores); Python {result['python']}, {versions}.",
        f"Matrix products at 4096³ in the same run: {rates}. All took turns; medians, with the range in brackets.",
        "",
    ]
    for part, table in (("layer", layer_tables), ("application", application_table), ("growth", growth_tables)):
        if part in result:
            lines += table(result[part], result)
    if "start" in result:
        lines += start_table(result["start"])
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    _plot(result, path)


def layer_tables(cases: list[dict[str, Any]], result: dict[str, Any]) -> list[str]:
    """For each pass, a table of peers by case: time, and in brackets how many times ours."""
    lines = []
    for part, title, passes in (("forward", "Forward", 1), ("train", "Forward and backward, all gradients", 3)):
        peers = list(dict.fromkeys(name for case in cases for name in case[part]))
        lines += [f"## {title}", "", "| case | " + " | ".join(peers) + " | of the matrix rate |"]
        lines += ["|" + "---|" * (len(peers) + 2)]
        for case in cases:
            ours = case[part]["jaxrnn"]["median"]
            cells = []
            for name in peers:
                row = case[part].get(name)
                ratio = "" if name == "jaxrnn" or row is None else f" (× {row['median'] / ours:.2f})"
                cells.append("" if row is None else f"{_seconds(row)}{ratio}")
            limit = passes * case["matmul_flops"] / ours / result["matrix_rates"][case["case"]["dtype"]]
            lines.append(f"| {case['name']} | " + " | ".join(cells) + f" | {100 * limit:.0f} % |")
        lines.append("")
    lines += [
        "## Compile time, forward and backward",
        "",
        "| case | jaxrnn | plain lax.scan | others |",
        "|---|---|---|---|",
    ]
    for case in cases:
        taken = {name: row["train"] for name, row in case["compile_seconds"].items() if "train" in row}
        rest = ", ".join(f"{n} {s:.1f} s" for n, s in taken.items() if n not in ("jaxrnn", "plain lax.scan"))
        lines.append(f"| {case['name']} | {taken['jaxrnn']:.1f} s | {taken.get('plain lax.scan', 0):.1f} s | {rest} |")
    return [*lines, ""]


def application_table(row: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Tokens a second of the reference application's training step."""
    lines = ["## Training step of the reference application", "", "| | tokens a second | seconds |", "|---|---|---|"]
    for name, rate in row["tokens_per_second"].items():
        lines.append(f"| {name} | {rate:,.0f} | {_seconds(row['seconds'][name])} |")
    return [*lines, "", f"The input pipeline takes {100 * row['input_pipeline_share']:.1f} % of a step's time.", ""]


def growth_tables(sweeps: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Time and memory at each value of each sweep, and the exponents."""
    lines = [
        "## Growth of one gradient",
        "",
        "| | values | seconds | exponent | MiB | exponent |",
        "|---|---|---|---|---|---|",
    ]
    for axis, row in sweeps.items():
        seconds = row["seconds"]["jaxrnn"]
        lines.append(
            f"| {axis} | {', '.join(seconds)} | {', '.join(f'{s:.3f}' for s in seconds.values())} "
            f"| {row['exponent_of_time']['jaxrnn']:.2f} | {', '.join(f'{m:.0f}' for m in row['peak_mib'].values())} "
            f"| {row['exponent_of_memory']:.2f} |"
        )
    return [*lines, ""]


def start_table(row: dict[str, Any]) -> list[str]:
    """Import and first-step times."""
    lines = ["## Start", "", "| | seconds |", "|---|---|"]
    lines += [f"| `import {name}` | {seconds:.2f} |" for name, seconds in row["import_seconds"].items()]
    lines += [f"| first training step, {name} | {s:.1f} |" for name, s in row["first_step_seconds"].items()]
    return [*lines, ""]


def _seconds(row: dict[str, Any]) -> str:
    unit, scale = ("s", 1) if row["median"] >= 1 else ("ms", 1000)
    return f"{row['median'] * scale:.3g} {unit} [{row['min'] * scale:.3g}-{row['max'] * scale:.3g}]"


def _plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    if cases := result.get("layer"):
        peers = list(dict.fromkeys(name for case in cases for name in case["train"]))
        figure, axes = plt.subplots(1, 2, figsize=(13, 1.2 + 0.7 * len(cases)), sharey=True)
        for axis, part in zip(axes, ("forward", "train"), strict=True):
            for k, name in enumerate(peers):
                rows = [
                    case[part].get(name, {"median": 0})["median"] / case[part]["jaxrnn"]["median"] for case in cases
                ]
                at = [n + 0.8 * k / len(peers) for n in range(len(cases))]
                axis.barh(at, rows, height=0.8 / len(peers), label=name)
            axis.axvline(1, color="black", linewidth=0.8)
            axis.set_xscale("log")
            axis.set_xlabel(f"{part}: times jaxrnn's time")
        axes[0].set_yticks([n + 0.35 for n in range(len(cases))], [case["name"] for case in cases], fontsize=8)
        axes[0].invert_yaxis()
        axes[1].legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(path.with_name(f"{path.stem}_layer.png"), dpi=120)
        plt.close(figure)
    if sweeps := result.get("growth"):
        figure, axes = plt.subplots(1, len(sweeps), figsize=(3.2 * len(sweeps), 3))
        for axis, (name, row) in zip(axes, sweeps.items(), strict=True):
            for peer, points in row["seconds"].items():
                axis.loglog([int(value) for value in points], list(points.values()), "o-", label=peer)
            axis.set_xlabel(name)
        axes[0].set_ylabel("seconds a gradient")
        figure.tight_layout()
        figure.savefig(path.with_name(f"{path.stem}_growth.png"), dpi=120)
        plt.close(figure)


if __name__ == "__main__":
    write_report(Path(sys.argv[1]))
