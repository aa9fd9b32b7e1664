"""Dropout, recurrent dropout and zoneout; all masks are drawn outside the loop over time."""

from typing import Any, TypedDict

import jax.numpy as jnp
from flax import nnx
from jax import Array


class Drawn(TypedDict):
    """Arguments of `jaxrnn.core.unroll`, see `jaxrnn.core.Options`."""

    recurrent_dropout: Array | None
    zoneout: Any | None


def checked_dropout(name: str, rate: float, rngs: nnx.Rngs, shared_axes: tuple[int, ...] = ()) -> nnx.Dropout:
    """Dropout with one mask along the shared axes; ValueError that names the rate `name`, unless 0 <= rate < 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name}: expected 0 <= rate < 1, got {rate}")
    return nnx.Dropout(rate, broadcast_dims=shared_axes, rngs=rngs if rate else None)


class StateRegularization(nnx.Module):
    """Recurrent dropout and zoneout of a layer.

    Args:
      state_type: The core's type of state.
      dropout_rate: Dropout of h on its way into the recurrent product.
      zoneout_rate: Probability that an element keeps its old value; one number, or one for each part of the state.
      rngs: Flax random streams; `dropout` is used where it is not given at the call.

    Raises:
      ValueError: A rate is out of range, or there is not one for each part of the state.
    """

    def __init__(
        self, state_type: type, dropout_rate: float, zoneout_rate: float | tuple[float, ...], *, rngs: nnx.Rngs
    ):
        fields = state_type._fields
        rates = (zoneout_rate,) * len(fields) if isinstance(zoneout_rate, int | float) else tuple(zoneout_rate)
        if len(rates) != len(fields):
            raise ValueError(f"zoneout_rate: expected one number, or one for each of {', '.join(fields)}, got {rates}")
        self.state_type = state_type
        self.dropout = checked_dropout("recurrent_dropout_rate", dropout_rate, rngs)
        self.zoneout = nnx.List([checked_dropout("zoneout_rate", rate, rngs) for rate in rates])

    def draw(self, batch: int, widths: list[int], *, time: int | None, rngs: nnx.Rngs | None) -> Drawn:
        """Draws the masks of one direction of one layer.

        Args:
          batch: Number of rows.
          widths: Width of each part of the state, h first.
          time: Number of steps; None means a single step, whose masks have no time axis.
          rngs: Random streams, in place of those given to the constructor.

        Returns:
          Arguments of `jaxrnn.core.unroll`, None where nothing is to be done.
        """
        factors = None
        if self.dropout.rate and not self.dropout.deterministic:
            factors = self.dropout(jnp.ones((batch, widths[0])), rngs=rngs)
        if not any(part.rate for part in self.zoneout):
            return {"recurrent_dropout": factors, "zoneout": None}
        shares = []
        for part, width in zip(self.zoneout, widths, strict=True):
            if not part.rate:
                shares.append(None)
            elif part.deterministic:
                shares.append(jnp.asarray(part.rate))
            else:
                shape = (batch, width) if time is None else (time, batch, width)
                shares.append(part(jnp.ones(shape), rngs=rngs) == 0)
        return {"recurrent_dropout": factors, "zoneout": self.state_type(*shares)}
