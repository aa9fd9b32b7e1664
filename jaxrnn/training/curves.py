"""The picture of a run: its metrics against steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxrnn.files import replacing
from jaxrnn.training.task import Metric


def draw_curves(records: Sequence[dict[str, Any]], metrics: Mapping[str, Metric], file: Path, title: str) -> None:
    """Draws the records of metrics.jsonl into a PNG file, a chart for each metric that they hold.

    Args:
      records: Objects with `split` ("train" or "validation"), `step`, and values by the metrics' names.
      metrics: What is drawn.
      file: Where the picture goes.
      title: What stands above it.
    """
    drawn = [name for name in metrics if any(name in record for record in records)]
    figure = Figure(figsize=(5 * len(drawn), 4), layout="constrained")
    figure.suptitle(title)
    for axes, name in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        metric = metrics[name]
        for split, style in {"train": {"alpha": 0.6}, "validation": {"marker": "o"}}.items():
            points = [
                (record["step"], metric.scale * record[name])
                for record in records
                if record["split"] == split and name in record
            ]
            axes.plot([step for step, _ in points], [value for _, value in points], label=split, **style)
        label = f"{name} ({metric.unit})" if metric.unit else name
        axes.set(xlabel="step", ylabel=label, yscale="log" if metric.log_scale else "linear")
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
