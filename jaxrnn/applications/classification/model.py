"""The text classifier: embedding, recurrent layers, one vector for the text, and a linear head."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from jaxrnn import core, nn
from jaxrnn.applications.classification.bag import Bag, Ratios
from jaxrnn.applications.classification.config import ClassificationModelConfig
from jaxrnn.applications.layers import recurrent_layer
from jaxrnn.config import split_names
from jaxrnn.typing import AnyArray


class Inputs(NamedTuple):
    """What the tokens of a batch become before anything is recurrent.

    Attributes:
      vectors: What the recurrent layers read, `[time, batch, features]`.
      terms: What each token adds to the logits of the bag of words, `[time, batch, outputs]`; None without a bag.
    """

    vectors: Array
    terms: Array | None


class TextClassifier(nnx.Module):
    """Classifies texts, which are sequences of word numbers.

    While training (`model.train()`), dropout acts on the embedding, between the layers and on the pooled vector.

    A linear classifier of words and n-grams can help in two ways: its log-count ratios are further inputs of the
    layers (`ratio_inputs`), and it answers beside the network (`bag_of_words`). The logits are then the mean of both
    answers, but each is trained to answer by itself.

    Args:
      config: The sizes and kinds of all parts, the section [model] of a run's config.
      vocabulary_size: V, rows of the embedding.
      num_classes: At least 2; two classes share one logit.
      ratios: The table of log-count ratios `[num_folds + 1, rows, outputs]`, see `log_count_ratios`; None where the
        config uses none.
      longest_ngram: The number of rows of the table that belong to each token.
      rngs: Flax random streams; `params` is used.
    """

    def __init__(
        self,
        config: ClassificationModelConfig,
        *,
        vocabulary_size: int,
        num_classes: int,
        ratios: np.ndarray | None = None,
        longest_ngram: int = 1,
        rngs: nnx.Rngs,
    ):
        torch_like = config.init == "torch"
        num_outputs = 1 if num_classes == 2 else num_classes
        embedding_scale = 1.0 if torch_like else config.embedding**-0.5
        self.embedding = nnx.Embed(
            vocabulary_size,
            config.embedding,
            embedding_init=nnx.initializers.normal(embedding_scale),
            rngs=rngs,
        )
        self.ratio_inputs = config.ratio_inputs
        self.ratios = None if ratios is None else Ratios(ratios)
        self.bag = Bag(ratios.shape[1], num_outputs) if ratios is not None and config.bag_of_words else None
        rate = config.embedding_dropout_rate
        self.embedding_dropout = nnx.Dropout(config.dropout_rate if rate is None else rate)
        self.layer = recurrent_layer(
            config,
            config.embedding + (num_outputs * longest_ngram if config.ratio_inputs else 0),
            num_layers=config.num_layers,
            bidirectional=config.bidirectional,
            dropout_rate=config.dropout_rate,
            rngs=rngs,
        )
        kinds: Any = split_names(config.pooling)
        self.pooling = nn.Pooling(
            kinds,
            self.layer.out_features,
            attention=config.attention,
            attention_features=config.hidden,
            time_major=True,
            rngs=rngs,
        )
        bound = self.pooling.out_features**-0.5
        uniform = nnx.initializers.uniform(2 * bound)

        def torch_init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
            return uniform(key, shape, dtype) - bound

        self.head = nnx.Linear(
            self.pooling.out_features,
            num_outputs,
            kernel_init=torch_init if torch_like else nnx.initializers.lecun_normal(),
            bias_init=torch_init if torch_like else nnx.initializers.zeros,
            rngs=rngs,
        )
        self.dropout = nnx.Dropout(config.dropout_rate)
        # After the weights, because it takes a key of the random streams too.
        self.word_dropout = nn.WordDropout(config.word_dropout_rate, rngs=rngs)

    def __call__(
        self,
        tokens: AnyArray,
        lengths: AnyArray,
        *,
        rows: AnyArray | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Array:
        """The logits of a batch of new texts.

        Args:
          tokens: Word numbers, `[batch, time]`, padded at the end.
          lengths: Tokens of each text, `[batch]`; 0 is allowed.
          rows: Rows of the table of ratios, `[batch, time, longest_ngram]`; needed with ratios.
          rngs: Random streams for dropout; needed while training.

        Returns:
          Logits, `[batch, classes]`; with two classes `[batch, 1]`, the logit of the second.
        """
        inputs = self.embed(tokens, rows=rows, rngs=rngs)
        return jnp.stack(self.answers(inputs, lengths, rngs=rngs)).mean(0)

    def torch_parts(self) -> dict[str, Any]:
        """The parts by their names in the usual PyTorch program, see `jaxrnn.convert.from_torch`.

        Raises:
          ValueError: The classifier has attention, ratios or a bag of words, which that program does not have.
        """
        if self.ratios is not None or "attention" in self.pooling.kinds:
            raise ValueError(
                "module: expected a classifier of embedding, recurrent layer and head alone, as the usual PyTorch "
                "program is, got one with log-count ratios or attention"
            )
        name = {nn.LSTM: "lstm", nn.GRU: "gru", nn.Elman: "rnn"}[type(self.layer)]
        return {"embedding": self.embedding, name: self.layer, "fc": self.head}

    def embed(
        self,
        tokens: AnyArray,
        *,
        rows: AnyArray | None = None,
        folds: AnyArray | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Inputs:
        """Looks everything up. Dropout acts on the embedding alone, not on the ratios or the terms of the bag.

        Args:
          tokens: As of a call.
          rows: As of a call.
          folds: The fold of each training text, `[batch]`; None: they are new texts.
          rngs: Random streams for dropout; needed while training.
        """
        words = self.word_dropout(jnp.asarray(tokens).swapaxes(0, 1), rngs=rngs)
        vectors = self.embedding_dropout(self.embedding(words), rngs=rngs)
        if self.ratios is None:
            return Inputs(vectors, None)
        if rows is None:
            raise ValueError("rows: expected the rows of the table of ratios, got None")
        rows = jnp.asarray(rows).swapaxes(0, 1)
        ratios = self.ratios(rows, folds)
        terms = None if self.bag is None else self.bag(rows, ratios)
        if self.ratio_inputs:
            vectors = jnp.concatenate([vectors, ratios.reshape(*rows.shape[:2], -1)], axis=-1)
        return Inputs(vectors, terms)

    def answers(self, inputs: Inputs, lengths: AnyArray, *, rngs: nnx.Rngs | None = None) -> list[Array]:
        """The logits of the network and, if there is one, of the bag; their mean is the model's.

        Args:
          inputs: What `embed` returns. Its random streams go on from there.
          lengths: As of a call.
          rngs: Random streams for dropout; needed while training.
        """
        y, state = self.layer(inputs.vectors, lengths=lengths, rngs=rngs)
        pooled = self.pooling(y, self.layer.last(state), lengths=lengths)
        logits = self.head(self.dropout(pooled, rngs=rngs))
        if self.bag is None or inputs.terms is None:
            return [logits]
        valid = core.checked_mask(lengths, None, *inputs.terms.shape[:2])
        return [logits, core.zero_padding(valid, inputs.terms).sum(0) + self.bag.bias]
