"""The picture of a run: its metrics against steps."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxrnn.files import replacing
from jaxrnn.training.interrupt import Interrupted
from jaxrnn.training.run_folder import RunFolder
from jaxrnn.training.task import Metric

SECONDS_BETWEEN = 10  # a drawing takes half a second of a core, and epochs may be shorter than that


class Curves:
    """The file curves.png of a run, which follows its metrics: used as a context manager around the training.

    Args:
      folder: The run's.
      metrics: What is drawn.
    """

    def __init__(self, folder: RunFolder, metrics: Mapping[str, Metric]):
        self._folder, self._metrics = folder, metrics
        self._time = -float("inf")
        self._is_behind = False

    def update(self) -> None:
        """Draws the curves after an epoch, unless they were drawn moments ago."""
        self._is_behind = True
        if time.monotonic() - self._time >= SECONDS_BETWEEN:
            self._draw()

    def __enter__(self) -> "Curves":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Draws what is not drawn yet, at the end of the training or when it is stopped."""
        if self._is_behind and (kind is None or issubclass(kind, Interrupted)):
            self._draw()

    def _draw(self) -> None:
        draw_curves(self._folder.read_metrics(), self._metrics, self._folder.curves, self._folder.path.name)
        self._time, self._is_behind = time.monotonic(), False


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
