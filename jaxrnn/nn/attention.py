"""Attention over states: a score of each state for a query, and the mean of the states weighted by their softmax."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn import core
from jaxrnn.nn.arguments import as_rngs
from jaxrnn.nn.axes import to_time_major
from jaxrnn.typing import AnyArray


class Attention(nnx.Module):
    """The base of both kinds: the softmax over a row's valid steps, and the mean. Each kind has its own scores.

    Args of both constructors:
      query_features: Width of the query.
      state_features: D, width of the states.
      time_major: Whether states, mask and weights are `[time, batch, ...]` rather than `[batch, time, ...]`.
      rngs: Flax random streams, or a seed; `params` is used.
    """

    def __init__(self, query_features: int, state_features: int, *, time_major: bool):
        self.query_features = query_features
        self.state_features = state_features
        self.time_major = time_major

    def __call__(
        self, query: AnyArray, states: AnyArray, *, lengths: AnyArray | None = None, mask: AnyArray | None = None
    ) -> tuple[Array, Array]:
        """Attends to the states of each row.

        Args:
          query: `[batch, query_features]`.
          states: `[batch, time, state_features]`. The content of invalid steps, even NaN, changes nothing.
          lengths: Valid steps of each row, integers `[batch]`; None means all.
          mask: Valid steps, booleans `[batch, time]`, in place of lengths; it may have gaps.

        Returns:
          The weighted mean of each row's states, `[batch, state_features]`, and the weights, `[batch, time]`, which
          sum to 1 and are 0 at invalid steps. For a row without valid steps both are zero.

        Raises:
          ValueError: Shapes or dtypes disagree, or lengths are out of range.
        """
        query, states = jnp.asarray(query), jnp.asarray(states)
        axes = "time, batch" if self.time_major else "batch, time"
        if states.ndim != 3 or states.shape[2] != self.state_features or not jnp.issubdtype(states.dtype, jnp.floating):
            raise ValueError(
                f"states: expected floats [{axes}, {self.state_features}], got {states.dtype} {list(states.shape)}"
            )
        states, mask, _ = to_time_major(states, mask, None, time_major=self.time_major)
        time, batch = states.shape[:2]
        if query.shape != (batch, self.query_features) or not jnp.issubdtype(query.dtype, jnp.floating):
            raise ValueError(
                f"query: expected floats [{batch}, {self.query_features}], got {query.dtype} {list(query.shape)}"
            )
        valid = core.checked_mask(lengths, mask, time, batch)
        states = core.zero_padding(valid, states)  # a weight of zero times NaN would be NaN
        weights = _softmax_over_time(self.scores(query, states), valid)
        mean = jnp.einsum("tb,tbd->bd", weights, states)
        return mean, weights if self.time_major else weights.T

    def scores(self, query: Array, states: Array) -> Array:
        """The score `[time, batch]` of each state `[time, batch, state_features]` for its row's query."""
        raise NotImplementedError


class AdditiveAttention(Attention):
    """Additive attention, score_t = v · tanh(W q + U s_t + b) (Bahdanau et al. 2015, arXiv:1409.0473, A.1.2).

    Args:
      query_features: Width of q.
      state_features: D, width of s_t.
      hidden_features: Width of the sum.
      time_major: See `Attention`.
      rngs: Flax random streams, or a seed; `params` is used.

    Example:
      >>> import jax.numpy as jnp
      >>> attention = AdditiveAttention(4, 6, 5, rngs=0)
      >>> mean, weights = attention(jnp.ones((2, 4)), jnp.ones((2, 3, 6)), lengths=jnp.array([3, 1]))
      >>> mean.shape, weights[1].tolist()
      ((2, 6), [1.0, 0.0, 0.0])
    """

    def __init__(
        self,
        query_features: int,
        state_features: int,
        hidden_features: int,
        *,
        time_major: bool = False,
        rngs: nnx.Rngs | int,
    ):
        super().__init__(query_features, state_features, time_major=time_major)
        rngs = as_rngs(rngs)
        self.query = nnx.Linear(query_features, hidden_features, rngs=rngs)  # its bias is b
        self.state = nnx.Linear(state_features, hidden_features, use_bias=False, rngs=rngs)
        self.score = nnx.Linear(hidden_features, 1, use_bias=False, rngs=rngs)

    def scores(self, query: Array, states: Array) -> Array:
        """The scores, see `Attention`."""
        return self.score(jnp.tanh(self.query(query) + self.state(states)))[..., 0]


class DotAttention(Attention):
    """Dot-product attention, score_t = (W q) · s_t / √D.

    The bilinear score of Luong et al. 2015 (arXiv:1508.04025, "general"), scaled as by Vaswani et al. 2017
    (arXiv:1706.03762), so that its spread does not grow with the width.

    Args:
      query_features: Width of q.
      state_features: D, width of s_t.
      time_major: See `Attention`.
      rngs: Flax random streams, or a seed; `params` is used.
    """

    def __init__(self, query_features: int, state_features: int, *, time_major: bool = False, rngs: nnx.Rngs | int):
        super().__init__(query_features, state_features, time_major=time_major)
        rngs = as_rngs(rngs)
        self.query = nnx.Linear(query_features, state_features, use_bias=False, rngs=rngs)

    def scores(self, query: Array, states: Array) -> Array:
        """The scores, see `Attention`."""
        return jnp.einsum("bd,tbd->tb", self.query(query), states) * self.state_features**-0.5


def _softmax_over_time(scores: Array, valid: Array | None) -> Array:
    """Softmax over the valid steps of `[time, batch]`, zero in a column that has none, as are its derivatives."""
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    if valid is not None:
        scores = jnp.where(valid, scores, -jnp.inf)
    highest = scores.max(0, initial=jnp.finfo(scores.dtype).min)  # finite where there is no valid step, too
    shares = jnp.exp(scores - jax.lax.stop_gradient(highest))
    total = shares.sum(0)
    return shares / jnp.where(total > 0, total, 1)
