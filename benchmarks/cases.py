"""The cases that are measured: one layer with a shape, lengths and a precision."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

GATES = {"lstm": 4, "gru": 3, "elman": 1}
IMDB_LENGTHS = Path(__file__).parent / "imdb_lengths.json"


class Case(NamedTuple):
    """One layer with a shape, lengths and a precision; the defaults are those of the reference application.

    Attributes:
      cell: The cell: "lstm", "gru" or "elman".
      batch: B, the number of rows.
      time: T, the number of steps.
      features: D, the features of an input.
      hidden: H, the features of the state.
      layers: L, the number of layers.
      directions: The number of directions, 1 or 2.
      lengths: The lengths of the rows. "full": all T; "bucketed": 0.93 T to T, as in a bucket; "uniform": 1 to T;
        "imdb": those of B reviews, scaled so that the longest is T; a fraction such as "0.5": one row has T and all
        others have this fraction of T.
      dtype: The precision of the matrix products: "float32" or "bfloat16".
    """

    cell: str = "lstm"
    batch: int = 64
    time: int = 256
    features: int = 100
    hidden: int = 256
    layers: int = 2
    directions: int = 2
    lengths: str = "full"
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """A short name, different for each case."""
        shape = f"B{self.batch} T{self.time} D{self.features} H{self.hidden} L{self.layers}x{self.directions}"
        return f"{self.cell} {shape} {self.lengths} {self.dtype}"

    def draw_lengths(self) -> np.ndarray:
        """Draws the number of valid steps of each row, int32 `[batch]`; the longest is T."""
        rng = np.random.default_rng(0)
        if self.lengths == "full":
            drawn = np.full(self.batch, self.time)
        elif self.lengths == "bucketed":
            drawn = rng.integers(round(0.93 * self.time), self.time + 1, self.batch)
        elif self.lengths == "uniform":
            drawn = rng.integers(1, self.time + 1, self.batch)
        elif self.lengths == "imdb":
            reviews = draw_imdb_lengths(rng, self.batch)
            drawn = np.ceil(self.time * reviews / reviews.max())
        else:
            drawn = np.full(self.batch, max(1, round(float(self.lengths) * self.time)))
        drawn[0] = self.time
        return drawn.astype(np.int32)

    def draw_inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws inputs `[time, batch, features]` and a cotangent of the outputs, both zero past the lengths."""
        rng = np.random.default_rng(1)
        shape = self.time, self.batch
        x = rng.normal(size=(*shape, self.features)) * self.valid
        d_y = rng.normal(size=(*shape, self.directions * self.hidden)) * self.valid
        return x.astype(np.float32), d_y.astype(np.float32)

    @property
    def valid(self) -> np.ndarray:
        """Whether each step is valid, bool `[time, batch, 1]`."""
        return (np.arange(self.time)[:, None] < self.draw_lengths())[..., None]

    @property
    def valid_share(self) -> float:
        """The fraction of steps that are valid: the sum of the lengths over B·T."""
        return float(self.draw_lengths().mean() / self.time)

    @property
    def layer_widths(self) -> list[int]:
        """The features of each layer's input."""
        return [self.features] + [self.directions * self.hidden] * (self.layers - 1)

    @property
    def forward_flops(self) -> float:
        """Floating-point operations of the forward matrix products over the valid steps; backward has twice as many."""
        columns = GATES[self.cell] * self.hidden
        per_step = sum(2 * columns * (width + self.hidden) * self.directions for width in self.layer_widths)
        return per_step * float(self.draw_lengths().sum())


@cache
def _imdb_histogram() -> tuple[np.ndarray, np.ndarray]:
    table = json.loads(IMDB_LENGTHS.read_text())
    counts = np.array(table["counts"], float)
    return np.arange(len(counts)) * table["bin"], counts / counts.sum()


def draw_imdb_lengths(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draws the numbers of tokens of `count` reviews from the histogram of real reviews."""
    starts, shares = _imdb_histogram()
    width = starts[1] - starts[0]
    return 1 + rng.choice(starts, count, p=shares) + rng.integers(0, width, count)
