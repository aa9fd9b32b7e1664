"""The picture of a run: loss and accuracy against steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxrnn.files import replacing


def draw_curves(records: Sequence[dict[str, Any]], file: Path, title: str) -> None:
    """Draws the records of metrics.jsonl into a PNG file.

    Args:
      records: objects with `split` ("train" or "validation"), `step`, `loss` and `accuracy`.
      file: where to.
      title: above the picture.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    for axes, key, label in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("loss (nats)", "accuracy (%)"), strict=True
    ):
        scale = 100 if key == "accuracy" else 1
        for split, style in {"train": {"alpha": 0.6}, "validation": {"marker": "o"}}.items():
            points = [(record["step"], scale * record[key]) for record in records if record["split"] == split]
            axes.plot([step for step, _ in points], [value for _, value in points], label=split, **style)
        axes.set(xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
