"""The shapes, lengths and precisions that are compared."""

from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """One layer at one shape.

    Attributes:
      cell: "lstm", "gru" or "elman".
      batch, time, features, hidden, layers: B, T, D, H, L.
      directions: 1 or 2.
      lengths: "full", all T; "bucketed", 0.93 T to T, as buckets leave them; "uniform", 1 to T; or "imdb",
        heavy-tailed as the reviews' are, the longest of the batch being T.
      dtype: "float32" or "bfloat16", of the matrix products.
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
        """Short, and unique among cases."""
        shape = f"B{self.batch} T{self.time} D{self.features} H{self.hidden} L{self.layers}x{self.directions}"
        return f"{self.cell} {shape} {self.lengths} {self.dtype}"

    def draw_lengths(self) -> np.ndarray:
        """Valid steps of each row, `[batch]`, the longest being T."""
        rng = np.random.default_rng(0)
        if self.lengths == "full":
            return np.full(self.batch, self.time)
        if self.lengths == "bucketed":
            drawn = rng.integers(round(0.93 * self.time), self.time + 1, self.batch)
        elif self.lengths == "uniform":
            drawn = rng.integers(1, self.time + 1, self.batch)
        else:  # spaCy tokens of an IMDB review: about log-normal, σ 0.6
            relative = rng.lognormal(0, 0.6, self.batch)
            drawn = np.ceil(self.time * relative / relative.max()).astype(int)
        drawn[0] = self.time
        return drawn

    def draw_inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs `[batch, time, features]`, zero past the lengths, and a cotangent for the outputs."""
        rng = np.random.default_rng(1)
        valid = np.arange(self.time) < self.draw_lengths()[:, None]
        x = rng.normal(size=(self.batch, self.time, self.features)) * valid[..., None]
        d_y = rng.normal(size=(self.batch, self.time, self.directions * self.hidden)) * valid[..., None]
        return x.astype(np.float32), d_y.astype(np.float32)

    @property
    def matmul_flops(self) -> float:
        """Floating-point operations of the forward pass's matrix products over the valid steps."""
        gates = {"lstm": 4, "gru": 3, "elman": 1}[self.cell]
        widths = [self.features] + [self.directions * self.hidden] * (self.layers - 1)
        per_step = sum(2 * gates * self.hidden * (width + self.hidden) * self.directions for width in widths)
        return per_step * float(self.draw_lengths().sum())
