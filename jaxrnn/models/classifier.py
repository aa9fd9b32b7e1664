"""Text classifier: embedding, recurrent layers, one vector for the text, linear head."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrnn import nn
from jaxrnn.nn.initializers import InitName
from jaxrnn.typing import AnyArray

CellName = Literal["lstm", "gru", "elman"]
PoolingName = Literal["last", "mean", "max"]

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.Elman}


class TextClassifier(nnx.Module):
    """Classifies sequences of token numbers.

    Dropout acts on the embedding, between the layers and on the pooled state, while training (`model.train()`).

    Args:
      vocabulary_size: V, rows of the embedding.
      num_classes: at least 2; two classes share one logit.
      embedding_features: width of a token's vector.
      cell: kind of recurrent layer.
      hidden_features: H, width of each direction's state.
      num_layers: recurrent layers in depth.
      bidirectional: read the text in both directions.
      dropout_rate: of all three dropouts.
      pooling: the text's vector: "last", the last layer's final state in each direction; "mean" or "max" over the
        text's steps of the last layer's outputs. An empty text has the zero vector.
      init: "orthogonal" or "torch", see `jaxrnn.nn.initializers`. With "torch" the embedding is standard normal and
        the head uniform in ±1/√fan_in, as PyTorch draws them.
      double_bias: two biases that add up in the recurrent layers, as in PyTorch.
      dtype: of the recurrent layers' matrix products; None means float32.
      rngs: Flax random streams; `params` is used.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        num_classes: int,
        embedding_features: int,
        cell: CellName,
        hidden_features: int,
        num_layers: int,
        bidirectional: bool,
        dropout_rate: float,
        pooling: PoolingName,
        init: InitName,
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        if num_classes < 2:
            raise ValueError(f"num_classes: expected at least 2, got {num_classes}")
        for name, value, choices in (("cell", cell, LAYERS), ("pooling", pooling, get_args(PoolingName))):
            if value not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        pooled_features = hidden_features * (2 if bidirectional else 1)
        torch_like = init == "torch"
        bound = pooled_features**-0.5
        uniform = nnx.initializers.uniform(2 * bound)

        def head_init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
            return uniform(key, shape, dtype) - bound

        self.embedding = nnx.Embed(
            vocabulary_size,
            embedding_features,
            embedding_init=nnx.initializers.normal(1.0 if torch_like else embedding_features**-0.5),
            rngs=rngs,
        )
        self.layer = LAYERS[cell](
            embedding_features,
            hidden_features,
            num_layers,
            bidirectional=bidirectional,
            dropout_rate=dropout_rate,
            time_major=True,
            init=init,
            double_bias=double_bias,
            dtype=dtype,
            rngs=rngs,
        )
        self.head = nnx.Linear(
            pooled_features,
            1 if num_classes == 2 else num_classes,
            kernel_init=head_init if torch_like else nnx.initializers.lecun_normal(),
            bias_init=head_init if torch_like else nnx.initializers.zeros,
            rngs=rngs,
        )
        self.dropout = nnx.Dropout(dropout_rate)
        self.pooling = pooling

    def __call__(self, tokens: AnyArray, lengths: AnyArray, *, rngs: nnx.Rngs | None = None) -> Array:
        """Logits of a batch of texts.

        Args:
          tokens: token numbers, `[batch, time]`, padded at the end.
          lengths: tokens of each text, `[batch]`, 0 allowed.
          rngs: random streams for dropout; needed while training.

        Returns:
          Logits, `[batch, classes]`; with two classes `[batch, 1]`, the logit of the second.
        """
        return self.from_embeddings(self.embed(tokens, rngs=rngs), lengths, rngs=rngs)

    def embed(self, tokens: AnyArray, *, rngs: nnx.Rngs | None = None) -> Array:
        """Vectors of the tokens `[batch, time]` after dropout, `[time, batch, features]`."""
        return self.dropout(self.embedding(jnp.asarray(tokens).T), rngs=rngs)

    def from_embeddings(self, x: Array, lengths: AnyArray, *, rngs: nnx.Rngs | None = None) -> Array:
        """Logits from what `embed` returns, or from vectors near it; the random streams go on from there."""
        y, state = self.layer(x, lengths=lengths, rngs=rngs)
        pooled = self._pool(y, state.h, jnp.asarray(lengths))
        return self.head(self.dropout(pooled, rngs=rngs))

    def _pool(self, y: Array, h: Array, lengths: Array) -> Array:
        """Outputs `[time, batch, features]` and states `[layers * directions, batch, hidden]` to one row a text."""
        if self.pooling == "last":
            return jnp.concatenate(list(h[-self.layer.num_directions :]), axis=-1)
        if self.pooling == "mean":  # outputs past the length are zero
            return y.sum(0) / jnp.maximum(lengths, 1)[:, None]
        mask = jnp.arange(y.shape[0])[:, None] < lengths
        maximum = jnp.where(mask[..., None], y, -jnp.inf).max(0, initial=-jnp.inf)
        return jnp.where((lengths > 0)[:, None], maximum, 0)


def num_parameters(model: nnx.Module) -> int:
    """Number of trainable numbers in a model."""
    return sum(param.size for param in jax.tree.leaves(nnx.state(model, nnx.Param)))
