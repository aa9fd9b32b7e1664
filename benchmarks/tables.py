"""Formats the sections of the report as lines of Markdown, each from a part of the result."""

from collections.abc import Mapping
from typing import Any

from benchmarks.markdown import duration, table, times
from benchmarks.targets import PASSES, pipeline_share, share_of_limit, targets

Result = dict[str, Any]


def header(result: Result) -> list[str]:
    """The command, the machine and the software."""
    env = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items())
    variables = ", ".join(f"`{name}={value}`" for name, value in env["variables"].items()) or "none"
    threads = ", ".join(f"{name} {count}" for name, count in env["threads"].items())
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in result["matrix_rates"].items())
    left_out = [f"Left out for lack of time: {'; '.join(result['left_out'])}.", ""] if result["left_out"] else []
    failed = [f"Failed: {name}: {message}" for name, message in result["failed"].items()]
    return [
        f"`{env['command']}`, {env['date']}, commit {env['commit']}, {result['seconds']:.0f} seconds.",
        "",
        f"Device {env['device']}; {env['processor']}, {env['cores']} cores, threads: {threads}. "
        f"Python {env['python']}, {versions}. Variables: {variables}.",
        "",
        f"Float32 products: {result['precision']} on both sides. "
        f"Matrix products at {result['matrix_size']}³ in the same run: {rates}.",
        "",
        *left_out,
        *failed,
    ]


def targets_section(result: Result) -> list[str]:
    """Each target, its measured value, and whether it is met."""
    rows = [
        (
            target.name,
            f"{'≥' if target.at_least else '≤'} {target.bound:g} {target.unit}",
            "" if target.measured is None else f"{target.measured:.2f} {target.unit}",
            f"**{target.verdict}**" if target.verdict == "missed" else target.verdict,
        )
        for target in targets(result)
    ]
    return ["## Targets", "", *table(("", "target", "measured", ""), rows)]


def layer_section(rows: list[Result], result: Result) -> list[str]:
    """The times of each pass and their ratios to ours, the share of the limit, compile times, and absent libraries."""
    lines = ["## The layer", ""]
    for key, title in PASSES.items():
        measured = [row for row in rows if key in row["passes"]]
        peers = list(dict.fromkeys(name for row in measured for name in row["passes"][key]["seconds"]))
        head = ("case", *peers)
        lines += [f"### {title.capitalize()}", "", *table(head, (_layer_row(row, key, peers) for row in measured))]
    lines += ["### Share of the limit", ""]
    head = ("case", *(f"{title}, {what}" for title in PASSES.values() for what in ("large products", "same shapes")))
    lines += table(head, (_limit_row(row, result) for row in rows))
    lines += ["### Compile time, forward and forward + backward", ""]
    peers = list(dict.fromkeys(name for row in rows for name, took in row["compile_seconds"].items() if took))
    lines += table(("case", *peers), (_compile_row(row, peers) for row in rows))
    absent = {f"{name}: {reason}" for row in rows for name, reason in row["absent"].items()}
    return [*lines, *(f"Absent: {line}." for line in sorted(absent)), ""]


def _layer_row(row: Result, key: str, peers: list[str]) -> list[str]:
    timings = row["passes"][key]
    cells = [row["name"]]
    for name in peers:
        seconds, ratio = timings["seconds"].get(name), timings["ratios"].get(name)
        cells.append("" if seconds is None else duration(seconds) + (f", × {times(ratio)}" if ratio else ""))
    return cells


def _limit_row(row: Result, result: Result) -> list[str]:
    shares = [share_of_limit(result, row, key) if key in row["passes"] else {} for key in PASSES]
    return [
        row["name"],
        *(
            f"{100 * share[what]:.0f} %" if what in share else ""
            for share in shares
            for what in ("large", "same shapes")
        ),
    ]


def _compile_row(row: Result, peers: list[str]) -> list[str]:
    by_peer = [row["compile_seconds"].get(name, {}) for name in peers]
    return [row["name"], *(" / ".join(f"{seconds:.1f} s" for seconds in by_pass.values()) for by_pass in by_peer)]


def padding_section(rows: list[Result], result: Result) -> list[str]:
    """The cost of padding."""
    lines = [
        "## Padding",
        "",
        "Time ÷ (the full batch's time × the share of valid steps). A value of 1 means that padding costs no time.",
        "",
    ]
    for row in rows:
        kinds = [
            (f"{kind}, {100 * share:.0f} % valid", *(times(row["passes"][key][kind]) for key in PASSES))
            for kind, share in row["valid_share"].items()
        ]
        lines += table(("lengths", *PASSES.values()), kinds)
    return lines


def application_section(rows: list[Result], result: Result) -> list[str]:
    """The tokens per second of the reference application's training."""
    lines = ["## The reference application's training", ""]
    for row in rows:
        shapes = ", ".join(f"{batch} × {time}" for batch, time in row["batches"])
        lines += [
            f"Batches of {shapes}; {row['source']}. The epoch is {row['batches_of_epoch']} batches, "
            f"{row['tokens_of_epoch']:,} tokens; its time is extrapolated from the sample by the number of tokens.",
            "",
        ]
        programs = (
            (
                name,
                f"{rate:,.0f}",
                duration(row["seconds"][name]),
                times(row["ratios"][name]) if name in row["ratios"] else "",
                f"{row['epoch_seconds'][name]:,.0f} s",
            )
            for name, rate in row["tokens_per_second"].items()
        )
        lines += table(("", "tokens per second", "sample", "× ours", "epoch"), programs)
        lines += [f"The input pipeline takes {100 * pipeline_share(row):.1f} % of the steps' time.", ""]
    return lines


def growth_section(rows: list[Result], result: Result) -> list[str]:
    """Time and memory of the forward pass with all gradients at each point, and the exponents."""
    lines = ["## Growth of forward and all gradients", ""]
    cells = []
    for row in rows:
        axis = "valid share" if row["axis"] == "lengths" else row["axis"]
        for peer, growth in row["peers"].items():
            points = growth["points"]
            values = ", ".join(f"{p['x']:.4g}" for p in points)
            exponents = {name: "" if e is None else f"{e:.2f}" for name, e in growth["exponents"].items()}
            memory = ", ".join("–" if p["mib"] is None else f"{p['mib']:.0f}" for p in points)
            cells.append(
                (
                    peer,
                    f"{axis}: {values}",
                    ", ".join(f"{1000 * p['seconds']['median']:.0f}" for p in points),
                    exponents["seconds"],
                    memory,
                    exponents["mib"],
                )
            )
    return [*lines, *table(("", "", "ms", "exponent", "MiB", "exponent"), cells)]


def memory_section(rows: list[Result], result: Result) -> list[str]:
    """The peak memory of each pass beyond weights and inputs."""
    cells = (
        (row["name"], row["peer"], *("–" if m is None else f"{m:.0f} MiB" for m in row["mib"].values())) for row in rows
    )
    return ["## Peak memory beyond weights and inputs", "", *table(("case", "", *PASSES.values()), cells)]


def start_section(rows: list[Result], result: Result) -> list[str]:
    """The times of imports and of the first step, and the number of compilations."""
    lines = ["## Start", ""]
    for row in rows:
        cells = [(f"`import {name}`", f"{seconds:.2f} s") for name, seconds in row["import_seconds"].items()]
        cells += [
            (f"first training step, {name}", f"{seconds:.1f} s") for name, seconds in row["first_step_seconds"].items()
        ]
        epoch: Mapping[str, int] = row["epoch"]
        cells += [
            (f"compilations in the {name}, {epoch['shapes']} shapes", str(epoch[name]))
            for name in ("first epoch", "second epoch")
        ]
        lines += table(("", ""), cells)
    return lines


def options_section(rows: Mapping[str, Result]) -> list[str]:
    """The cost of each option of the layer."""
    plain = rows["plain"]
    cells = [
        (
            name,
            duration(row["compile_seconds"]),
            f"{row['compile_seconds']['median'] / plain['compile_seconds']['median']:.2f}",
            duration(row["step_seconds"]),
            times(row["step_ratio"]) if name != "plain" else "",
        )
        for name, row in rows.items()
    ]
    return ["## Options of the layer", "", *table(("option", "compile", "× plain", "step", "× plain"), cells)]


def scans_section(rows: list[Result], result: Result) -> list[str]:
    """The times of other ways to run the scan, compared with the default."""
    lines = ["## Ways to run the scan", ""]
    for key, title in PASSES.items():
        peers = list(dict.fromkeys(name for row in rows for name in row["passes"][key]["seconds"]))
        lines += [f"### {title.capitalize()}, ways to run the scan", ""]
        lines += table(("case", *peers), (_layer_row(row, key, peers) for row in rows))
    return lines


SECTIONS = {
    "layer": layer_section,
    "scans": scans_section,
    "padding": padding_section,
    "application": application_section,
    "growth": growth_section,
    "memory": memory_section,
    "start": start_section,
}
