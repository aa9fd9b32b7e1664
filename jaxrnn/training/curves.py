"""The picture of a run: the loss and the metric beside it against steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxrnn.files import replacing

DRAWN = {  # by name: what it is multiplied by, its label, and its axis
    "loss": (1, "loss (nats)", "linear"),
    "accuracy": (100, "accuracy (%)", "linear"),
    "perplexity": (1, "perplexity", "log"),
}


def draw_curves(records: Sequence[dict[str, Any]], file: Path, title: str) -> None:
    """Draws the records of metrics.jsonl into a PNG file.

    Args:
      records: objects with `split` ("train" or "validation"), `step`, `loss`, and `accuracy` or `perplexity`.
      file: where to.
      title: above the picture.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    metric = "perplexity" if any("perplexity" in record for record in records) else "accuracy"
    for axes, key in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
        scale, label, y_scale = DRAWN[key]
        for split, style in {"train": {"alpha": 0.6}, "validation": {"marker": "o"}}.items():
            points = [
                (record["step"], scale * record[key])
                for record in records
                if record["split"] == split and key in record
            ]
            axes.plot([step for step, _ in points], [value for _, value in points], label=split, **style)
        axes.set(xlabel="step", ylabel=label, yscale=y_scale)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
