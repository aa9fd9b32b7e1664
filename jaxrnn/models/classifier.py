"""Text classifier: embedding, recurrent layers, one vector for the text, linear head; what a linear one knows."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrnn import core, nn
from jaxrnn.nn.initializers import InitName
from jaxrnn.nn.pooling import AttentionName, PoolingName
from jaxrnn.typing import AnyArray

CellName = Literal["lstm", "gru", "elman"]

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.Elman}


class TextClassifier(nnx.Module):
    """Classifies sequences of token numbers.

    Dropout acts on the embedding, between the layers and on the pooled state, while training (`model.train()`).
    The embedding is that of words and, beside it, of runs of words if there are any. Two things come from a linear
    classifier of words and runs: their log-count ratios as further inputs of the layers, and the classifier itself, a
    bag of words, as an answer beside the network's. The logits are then the mean of both, but each is trained to answer
    by itself.

    Args:
      vocabulary_size: V, rows of the embedding.
      num_classes: at least 2; two classes share one logit.
      embedding_features: width of a token's vector.
      num_ngrams: numbers of the runs of words; 0: tokens have no runs.
      longest_ngram: words of the longest run, which is how many numbers a token has.
      ngram_features: width of a run's vector; 0: they have none, and are for what follows alone.
      ratio_inputs: the layers read the log-count ratios of words and runs too, see `jaxrnn.nn.Ratios`.
      bag_of_words: a linear classifier of words and runs beside the network, see `jaxrnn.nn.Bag`.
      num_folds: parts of the training texts, for these ratios.
      cell: kind of recurrent layer.
      hidden_features: H, width of each direction's state.
      num_layers: recurrent layers in depth.
      bidirectional: read the text in both directions.
      dropout_rate: of all three dropouts.
      embedding_dropout_rate: of the embedding's, in its place; None: the same.
      word_dropout_rate: of tokens that become unknown words, see `jaxrnn.nn.WordDropout`.
      frequencies: of the words and of the runs of words, to normalise their vectors, see `jaxrnn.nn.Embed`; None:
        they are not.
      pooling: the text's vector, from the last layer's final state in each direction and its outputs; one kind or
        several, see `jaxrnn.nn.Pooling`. An empty text has the zero vector.
      attention: kind of attention, for the pooling "attention".
      init: "orthogonal" or "torch", see `jaxrnn.nn.initializers`. With "torch" the embedding is standard normal and
        the head uniform in ±1/√fan_in, as PyTorch draws them.
      double_bias: two biases that add up in the recurrent layers, as in PyTorch.
      dtype: of the recurrent layers' matrix products; None means float32.
      backend: of the recurrent layers, see `jaxrnn.core.resolve_backend`.
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
        pooling: PoolingName | Sequence[PoolingName],
        num_ngrams: int = 0,
        longest_ngram: int = 1,
        ngram_features: int = 16,
        ratio_inputs: bool = False,
        bag_of_words: bool = False,
        num_folds: int = 10,
        embedding_dropout_rate: float | None = None,
        word_dropout_rate: float = 0.0,
        frequencies: tuple[AnyArray, AnyArray] | None = None,
        attention: AttentionName = "additive",
        init: InitName,
        double_bias: bool = False,
        dtype: DTypeLike | None = None,
        backend: core.BackendName | None = None,
        rngs: nnx.Rngs,
    ):
        if num_classes < 2:
            raise ValueError(f"num_classes: expected at least 2, got {num_classes}")
        if cell not in LAYERS:
            raise ValueError(f"cell: expected one of {', '.join(LAYERS)}, got {cell!r}")
        torch_like = init == "torch"

        of_words, of_ngrams = frequencies or (None, None)

        def embed(rows: int, features: int, frequencies: AnyArray | None) -> nn.Embed:
            init = nnx.initializers.normal(1.0 if torch_like else features**-0.5)
            return nn.Embed(rows, features, embedding_init=init, frequencies=frequencies, rngs=rngs)

        self.embedding = embed(vocabulary_size, embedding_features, of_words)
        has_vectors = num_ngrams > 0 and ngram_features > 0
        self.ngrams = embed(num_ngrams, ngram_features, of_ngrams) if has_vectors else None
        self.vector_features = embedding_features + (ngram_features if has_vectors else 0)
        num_outputs = 1 if num_classes == 2 else num_classes
        has_ratios = ratio_inputs or bag_of_words
        self.ratios = nn.Ratios(vocabulary_size, num_ngrams, num_folds, num_outputs) if has_ratios else None
        self.bag = nn.Bag(vocabulary_size + num_ngrams, num_outputs) if bag_of_words else None
        self.ratio_inputs = ratio_inputs
        self.layer_features = self.vector_features + (num_outputs * longest_ngram if ratio_inputs else 0)
        self.embedding_dropout = nnx.Dropout(dropout_rate if embedding_dropout_rate is None else embedding_dropout_rate)
        self.layer = LAYERS[cell](
            self.layer_features,
            hidden_features,
            num_layers,
            bidirectional=bidirectional,
            dropout_rate=dropout_rate,
            time_major=True,
            init=init,
            double_bias=double_bias,
            dtype=dtype,
            backend=backend,
            rngs=rngs,
        )
        self.pooling = nn.Pooling(
            pooling,
            self.layer.out_features,
            attention=attention,
            attention_features=hidden_features,
            time_major=True,
            rngs=rngs,
        )
        bound = self.pooling.out_features**-0.5
        uniform = nnx.initializers.uniform(2 * bound)

        def head_init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
            return uniform(key, shape, dtype) - bound

        self.head = nnx.Linear(
            self.pooling.out_features,
            num_outputs,
            kernel_init=head_init if torch_like else nnx.initializers.lecun_normal(),
            bias_init=head_init if torch_like else nnx.initializers.zeros,
            rngs=rngs,
        )
        self.dropout = nnx.Dropout(dropout_rate)
        self.word_dropout = nn.WordDropout(word_dropout_rate, rngs=rngs)  # after the weights: it takes a key too

    def __call__(self, tokens: AnyArray, lengths: AnyArray, *, rngs: nnx.Rngs | None = None) -> Array:
        """Logits of a batch of texts.

        Args:
          tokens: token numbers, `[batch, time]`, padded at the end; with runs of words `[batch, time, numbers]`, each
            token's own number and those of the runs that end with it.
          lengths: tokens of each text, `[batch]`, 0 allowed.
          rngs: random streams for dropout; needed while training.

        Returns:
          Logits, `[batch, classes]`; with two classes `[batch, 1]`, the logit of the second.
        """
        return self.from_embeddings(self.embed(tokens, rngs=rngs), lengths, rngs=rngs)

    def embed(self, tokens: AnyArray, *, folds: AnyArray | None = None, rngs: nnx.Rngs | None = None) -> Array:
        """Vectors of the tokens `[batch, time]` after dropout, `[time, batch, features]`.

        First the vectors: the word's own and, beside it, the sum of those of the runs that end with it. Then their
        ratios, if the layers read them, and what they add to the bag's logits, if there is one.

        Args:
          tokens: as of a call.
          folds: of training texts, `[batch]`; None: of new ones.
          rngs: random streams for dropout; needed while training.
        """
        tokens = self.word_dropout(jnp.asarray(tokens).swapaxes(0, 1), rngs=rngs)
        x = [self.embedding(tokens if tokens.ndim == 2 else tokens[..., 0])]
        if self.ngrams is not None:
            x.append(self.ngrams(tokens[..., 1:]).sum(-2))
        if self.ratios is not None:
            rows = self.ratios.rows(tokens)
            ratios = self.ratios(rows, folds)
            if self.ratio_inputs:
                x.append(ratios.reshape(*rows.shape[:2], -1))
            if self.bag is not None:
                x.append(self.bag(rows, ratios))
        return self.embedding_dropout(jnp.concatenate(x, axis=-1), rngs=rngs)

    def from_embeddings(self, x: Array, lengths: AnyArray, *, rngs: nnx.Rngs | None = None) -> Array:
        """Logits from what `embed` returns, or from vectors near it; the random streams go on from there."""
        answers = self.answers(x, lengths, rngs=rngs)
        return jnp.stack(answers).mean(0)

    def answers(self, x: Array, lengths: AnyArray, *, rngs: nnx.Rngs | None = None) -> list[Array]:
        """The logits of the network and, if there is one, of the bag; their mean is the model's."""
        x, terms = jnp.split(x, [self.layer_features], axis=-1)
        y, state = self.layer(x, lengths=lengths, rngs=rngs)
        last = jnp.concatenate(list(state.h[-self.layer.num_directions :]), axis=-1)
        pooled = self.pooling(y, last, lengths=lengths)
        logits = self.head(self.dropout(pooled, rngs=rngs))
        if self.bag is None:
            return [logits]
        valid = core.checked_mask(lengths, None, *terms.shape[:2])
        return [logits, core.zero_padding(valid, terms).sum(0) + self.bag.bias]


def num_parameters(model: nnx.Module) -> int:
    """Number of trainable numbers in a model."""
    trained = nnx.state(model, nnx.All(nnx.Param, nnx.Not(nn.Fixed)))
    return sum(param.size for param in jax.tree.leaves(trained))
