"""Language model: embedding, recurrent layers, and the same embedding again as the weights of the softmax."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn.applications.language_modelling.config import LanguageModelConfig
from jaxrnn.applications.language_modelling.softmax import cross_entropy, sampled_cross_entropy
from jaxrnn.applications.layers import recurrent_layer
from jaxrnn.core import matmul
from jaxrnn.typing import AnyArray


class LanguageModel(nnx.Module):
    """Predicts each token of a text from those before it.

    Input and output share one embedding (Press & Wolf 2017, arXiv:1608.05859); where the state has another width, a
    linear map without bias lies between. A token that ends a text sets the state back to zero, so what follows does
    not depend on the text before. Dropout acts on the embedding, between the layers and on the output.

    Args:
      config: The sizes and kinds of all parts, the section [model] of a run's config.
      vocabulary_size: V, the rows of the embedding.
      end_id: Token number of the end of a text.
      rngs: Flax random streams; `params` is used.
    """

    def __init__(self, config: LanguageModelConfig, *, vocabulary_size: int, end_id: int, rngs: nnx.Rngs):
        features, hidden = config.embedding, config.hidden
        self.dtype = None if config.dtype == "float32" else jnp.dtype(config.dtype)
        self.embedding = nnx.Embed(
            vocabulary_size, features, embedding_init=nnx.initializers.normal(features**-0.5), rngs=rngs
        )
        self.layer = recurrent_layer(
            config, features, num_layers=config.num_layers, dropout_rate=config.dropout_rate, rngs=rngs
        )
        self.projection = (
            None if hidden == features else nnx.Linear(hidden, features, use_bias=False, dtype=self.dtype, rngs=rngs)
        )
        self.bias = nnx.Param(jnp.zeros(vocabulary_size))
        self.dropout = nnx.Dropout(config.dropout_rate)
        self.end_id = end_id

    def initial_state(self, batch: int) -> Any:
        """The state of `batch` rows before the first token: zeros, each part `[layers, batch, hidden]`."""
        states = [cell.initialize_carry((batch, cell.in_features)) for cell in self.layer.cells]
        return jax.tree.map(lambda *parts: jnp.stack(parts), *states)

    def __call__(
        self,
        tokens: AnyArray,
        *,
        lengths: AnyArray | None = None,
        state: Any | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Array, Any]:
        """Logits of the token after each one. All are in memory at once, so this is for short texts.

        Args:
          tokens: Token numbers, `[batch, time]`.
          lengths: Number of tokens in each row, `[batch]`; None means all.
          state: The state returned for the tokens before; None means zeros.
          rngs: Random streams for dropout, needed in training.

        Returns:
          Logits, `[batch, time, vocabulary]`, and the state after each row's last token.
        """
        x, state = self._features(jnp.asarray(tokens).T, lengths, state, rngs)
        return self._logits(x).swapaxes(0, 1), state

    def losses(
        self,
        tokens: AnyArray,
        lengths: AnyArray,
        *,
        state: Any | None = None,
        num_samples: int | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[Array, Any]:
        """-log p of every token but the first in each row, in nats.

        Args:
          tokens: Token numbers, `[batch, time + 1]`, padded at the end.
          lengths: Number of tokens in each row, `[batch]`, the first included.
          state: The state returned for the tokens before; None means zeros.
          num_samples: Number of words to estimate the softmax from, see `sampled_cross_entropy`; None means all words.
          rngs: Random streams: `dropout`, needed in training, and `samples`, needed for the estimate.

        Returns:
          Losses, `[batch, time]`, zero past the length; and the state after each row's last input.
        """
        tokens = jnp.asarray(tokens).T
        num_targets = jnp.maximum(jnp.asarray(lengths) - 1, 0)
        x, state = self._features(tokens[:-1], num_targets, state, rngs)
        table, bias = self._table(), self.bias[...]
        if num_samples is None:
            losses = cross_entropy(x, table, bias, tokens[1:])
        else:
            if rngs is None:
                raise ValueError("rngs: expected random streams with samples, got None")
            losses = sampled_cross_entropy(x, table, bias, tokens[1:], num_samples=num_samples, key=rngs.samples())
        return jnp.where(jnp.arange(len(losses))[:, None] < num_targets, losses, 0).T, state

    def step(self, tokens: AnyArray, state: Any) -> tuple[Array, Any]:
        """Reads one token of each row; gives the same numbers as the call over a whole text.

        Args:
          tokens: Token numbers, `[batch]`.
          state: The state before them: `initial_state`, or what the step before returned.

        Returns:
          Logits of the next token, `[batch, vocabulary]`, and the state after these.
        """
        x, state = self.layer.step(self.dropout(self.embedding(jnp.asarray(tokens))), state)
        return self._logits(self._project(x)), state

    def _features(
        self, tokens: Array, lengths: AnyArray | None, state: Any, rngs: nnx.Rngs | None
    ) -> tuple[Array, Any]:
        """From tokens `[time, batch]` to the inputs of the softmax, `[time, batch, features]`, and the state."""
        x = self.dropout(self.embedding(tokens), rngs=rngs)
        resets = tokens == self.end_id
        if lengths is not None:  # the last token of a row is only a target
            resets &= jnp.arange(len(tokens))[:, None] < jnp.asarray(lengths)
        y, state = self.layer(x, lengths=lengths, resets=resets, state=state, rngs=rngs)
        return self._project(self.dropout(y, rngs=rngs)), state

    def _project(self, y: Array) -> Array:
        return y if self.projection is None else self.projection(y).astype(jnp.float32)

    def _table(self) -> Array:
        table = self.embedding.embedding[...]
        return table if self.dtype is None else table.astype(self.dtype)

    def _logits(self, x: Array) -> Array:
        return matmul(x, self._table().T) + self.bias[...]
