"""Pooling over time: one vector for a whole sequence, from the outputs of a recurrent layer and its final state."""

from collections.abc import Sequence
from typing import Literal, get_args

import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn import core
from jaxrnn.nn.arguments import as_rngs
from jaxrnn.nn.attention import AdditiveAttention, DotAttention
from jaxrnn.nn.axes import to_time_major
from jaxrnn.typing import AnyArray

PoolingName = Literal["last", "mean", "max", "attention"]
AttentionName = Literal["additive", "dot"]


class Pooling(nnx.Module):
    """Pools each row into one vector, from its valid steps; several kinds are put side by side (Howard & Ruder 2018).

    "last" is the final state as it is given; "mean" and "max" are over the valid steps, element by element;
    "attention" is the mean of the outputs weighted by an attention whose query is the final state. For a row without
    valid steps all but "last" are zero.

    Args:
      kinds: One of them, or several in the order of the result (arXiv:1801.06146 has last, max, mean).
      features: D, width of the outputs and of the final state.
      attention: Kind of attention, "additive" or "dot".
      attention_features: Width inside the additive attention; None means D.
      time_major: Whether outputs and mask are `[time, batch, ...]` rather than `[batch, time, ...]`.
      rngs: Flax random streams, or a seed; an attention uses `params`.

    Raises:
      ValueError: A kind or an attention is not known, or a kind is named twice.
    """

    def __init__(
        self,
        kinds: PoolingName | Sequence[PoolingName],
        features: int,
        *,
        attention: AttentionName = "additive",
        attention_features: int | None = None,
        time_major: bool = False,
        rngs: nnx.Rngs | int,
    ):
        rngs = as_rngs(rngs)
        self.kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        known = get_args(PoolingName)
        if not self.kinds or not set(self.kinds) <= set(known) or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"pooling: expected one or more of {', '.join(known)}, none twice, got {list(self.kinds)}")
        if attention not in get_args(AttentionName):
            raise ValueError(f"attention: expected 'additive' or 'dot', got {attention!r}")
        self.time_major = time_major
        self.out_features = len(self.kinds) * features
        if "attention" in self.kinds and attention == "dot":
            self.attention = DotAttention(features, features, time_major=True, rngs=rngs)
        elif "attention" in self.kinds:
            width = attention_features or features
            self.attention = AdditiveAttention(features, features, width, time_major=True, rngs=rngs)

    def __call__(
        self, y: AnyArray, last: AnyArray, *, lengths: AnyArray | None = None, mask: AnyArray | None = None
    ) -> Array:
        """Pools outputs over time.

        Args:
          y: Outputs, `[batch, time, features]`. The content of invalid steps, even NaN, changes nothing.
          last: The final state of each row, `[batch, features]`.
          lengths: Valid steps of each row, integers `[batch]`; None means all.
          mask: Valid steps, booleans `[batch, time]`, in place of lengths; it may have gaps.

        Returns:
          `[batch, out_features]`, the kinds side by side.

        Raises:
          ValueError: Shapes or dtypes disagree, or lengths are out of range.
        """
        y, mask, _ = to_time_major(y, mask, None, time_major=self.time_major)
        valid = core.checked_mask(lengths, mask, *y.shape[:2])
        if valid is None:
            valid = jnp.ones(y.shape[:2], bool)
        return jnp.concatenate([self._pool(kind, y, jnp.asarray(last), valid) for kind in self.kinds], axis=-1)

    def _pool(self, kind: PoolingName, y: Array, last: Array, valid: Array) -> Array:
        """One kind of pooling of outputs `[time, batch, features]`."""
        if kind == "last":
            return last
        if kind == "attention":
            return self.attention(last, y, mask=valid)[0]
        count = valid.sum(0)[:, None]
        if kind == "mean":
            return core.zero_padding(valid, y).sum(0) / jnp.maximum(count, 1)
        highest = jnp.where(valid[..., None], y, -jnp.inf).max(0, initial=-jnp.inf)
        return jnp.where(count > 0, highest, 0)
