"""The tagger: each word's vectors and characters, bidirectional layers over the sentence, and a score of each tag."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrnn.applications.layers import recurrent_layer
from jaxrnn.applications.tagging import crf
from jaxrnn.applications.tagging.config import TaggingModelConfig
from jaxrnn.applications.tagging.schemes import Legal
from jaxrnn.data.text import Vocabulary
from jaxrnn.typing import AnyArray

# Not minus infinity: the gradient of log Z would be NaN where all scores of a step are.
ILLEGAL = -1e4


class Tagger(nnx.Module):
    """Scores the tags of sentences, and finds the best legal sequences of them.

    A word is read as its trained vector, its pretrained vector, which stays as it is, and the two final states of a
    bidirectional layer over its characters, side by side (Lample et al. 2016, arXiv:1603.01360, section 4), and beside
    these the trained vector of its shape. While training (`model.train()`), dropout acts on all, between the layers and
    on the last layer's outputs, and word dropout leaves of some words nothing but their shape and characters.

    Args:
      config: The sizes and kinds of all parts, the section [model] of a run's config.
      num_words: Rows of the trained vectors of words.
      num_shapes: Rows of the vectors of shapes.
      num_characters: Rows of the vectors of characters.
      vectors: The pretrained vectors `[rows, features]`; None: there are none.
      legal: Which of the tags may follow each other.
      outside: The number of the tag O; None: no tag means that a token is in no span.
      rngs: Flax random streams; `params` is used.
    """

    matrices = ("between",)

    def __init__(
        self,
        config: TaggingModelConfig,
        *,
        num_words: int,
        num_shapes: int,
        num_characters: int,
        vectors: np.ndarray | None,
        legal: Legal,
        outside: int | None,
        rngs: nnx.Rngs,
    ):
        num_tags = len(legal.first)
        init = nnx.initializers.normal(0.1)
        self.words = (
            nnx.Embed(num_words, config.word_features, embedding_init=init, rngs=rngs) if config.word_features else None
        )
        self.shapes = (
            nnx.Embed(num_shapes, config.shape_features, embedding_init=init, rngs=rngs)
            if config.shape_features
            else None
        )
        self.vectors = None if vectors is None else nnx.Variable(jnp.asarray(vectors))
        self.unknown_vector = None if vectors is None else nnx.Param(jnp.zeros(vectors.shape[1]))
        self.characters = nnx.Embed(num_characters, config.character_features, rngs=rngs)
        self.character_layer = recurrent_layer(
            config,
            config.character_features,
            config.character_hidden,
            bidirectional=True,
            rngs=rngs,
        )
        width = (
            config.word_features
            + config.shape_features
            + (0 if vectors is None else vectors.shape[1])
            + self.character_layer.out_features
        )
        self.input_dropout = nnx.Dropout(config.dropout_rate)
        self.layer = recurrent_layer(
            config,
            width,
            num_layers=config.num_layers,
            bidirectional=True,
            dropout_rate=config.dropout_rate,
            rngs=rngs,
        )
        self.output_dropout = nnx.Dropout(config.dropout_rate)
        self.head = nnx.Linear(self.layer.out_features, num_tags, rngs=rngs)
        self.has_crf = config.decoder == "crf"
        if self.has_crf:
            self.between = nnx.Param(jnp.zeros((num_tags, num_tags)))
            self.first, self.last = nnx.Param(jnp.zeros(num_tags)), nnx.Param(jnp.zeros(num_tags))
        self.legal = nnx.List([nnx.Variable(jnp.asarray(part)) for part in legal])
        self.outside, self.outside_penalty = outside, config.outside_penalty
        self.word_dropout_rate = config.word_dropout_rate
        self.word_dropout = nnx.Dropout(config.word_dropout_rate)

    def __call__(
        self,
        words: AnyArray,
        lengths: AnyArray,
        shapes: AnyArray,
        characters: AnyArray,
        vectors: AnyArray | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Array:
        """The score of each tag at each word, `[batch, time, tags]`; with a softmax, log-probabilities.

        Args:
          words: Numbers of the words, `[batch, time]`.
          lengths: Words of each sentence, `[batch]`; 0 is allowed.
          shapes: Numbers of the words' shapes, `[batch, time]`.
          characters: Numbers of the words' characters, `[batch, time, characters]`; `Vocabulary.pad_id` after the last.
          vectors: Rows of the pretrained vectors, `[batch, time]`; needed where there are any.
          rngs: Random streams for dropout; needed while training.
        """
        inputs = self.input_dropout(self.embed(words, shapes, characters, vectors, rngs=rngs), rngs=rngs)
        y, _ = self.layer(inputs.swapaxes(0, 1), lengths=lengths, rngs=rngs)
        scores = self.head(self.output_dropout(y.swapaxes(0, 1), rngs=rngs))
        return scores if self.has_crf else jax.nn.log_softmax(scores)

    def embed(
        self,
        words: AnyArray,
        shapes: AnyArray,
        characters: AnyArray,
        vectors: AnyArray | None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Array:
        """What the layers read of each word, `[batch, time, features]`; arguments as of a call."""
        words, characters = jnp.asarray(words), jnp.asarray(characters)
        hidden = jnp.zeros(words.shape, bool)
        if self.word_dropout_rate and not self.word_dropout.deterministic:
            hidden = self.word_dropout(jnp.ones(words.shape), rngs=rngs) == 0
        parts = [self._encode_characters(characters)]
        if self.words is not None:
            parts.append(self.words(jnp.where(hidden, Vocabulary.unknown_id, words)))
        if self.shapes is not None:
            parts.append(self.shapes(jnp.asarray(shapes)))
        if self.vectors is not None and self.unknown_vector is not None:
            if vectors is None:
                raise ValueError("vectors: expected rows of the pretrained vectors, got None")
            has_vector = ~hidden & (jnp.asarray(vectors) != Vocabulary.unknown_id)
            looked_up = self.vectors[...][vectors]
            parts.append(jnp.where(has_vector[..., None], looked_up, self.unknown_vector[...]))
        return jnp.concatenate(parts, axis=-1)

    def _encode_characters(self, characters: Array) -> Array:
        """The final states over each word's characters, `[batch, time, 2 * character_hidden]`."""
        batch, time, longest = characters.shape
        by_word = characters.reshape(batch * time, longest)
        lengths = (by_word != Vocabulary.pad_id).sum(-1)
        _, state = self.character_layer(self.characters(by_word.T), lengths=lengths)
        return self.character_layer.last(state).reshape(batch, time, -1)

    def loss(self, scores: Array, tags: AnyArray, lengths: AnyArray) -> tuple[Array, Array]:
        """The negative log-likelihood of the tags of each sentence, in nats.

        Tags whose number the model has no score for, because training has never seen them, cannot be judged. Without a
        conditional random field they are left out; with one their whole sentence is.

        Args:
          scores: What a call returns.
          tags: Numbers of the tags, `[batch, time]`.
          lengths: As of a call.

        Returns:
          The sum over each sentence, `[batch]`, and the number of tags in it, `[batch]`.
        """
        tags, lengths = jnp.asarray(tags), jnp.asarray(lengths)
        valid = jnp.arange(tags.shape[1]) < lengths[:, None]
        known = valid & (tags < scores.shape[-1])
        if not self.has_crf:
            chosen = jnp.take_along_axis(scores, jnp.where(known, tags, 0)[..., None], axis=-1)[..., 0]
            return -jnp.where(known, chosen, 0).sum(-1), known.sum(-1)
        lengths = jnp.where((known == valid).all(-1), lengths, 0)
        return -crf.log_likelihood(scores, tags, lengths, self._transitions(ILLEGAL)), lengths

    def decode(self, scores: Array, lengths: AnyArray) -> Array:
        """The best legal sequence of tags of each sentence, int32 `[batch, time]`, 0 in the padding.

        Args:
          scores: What a call returns.
          lengths: As of a call.
        """
        if self.outside is not None:
            scores = scores.at[..., self.outside].add(-self.outside_penalty)
        return crf.viterbi(scores, lengths, self._transitions(-jnp.inf))[0]

    def _transitions(self, illegal: float) -> crf.Transitions:
        """The scores of neighbouring tags, with that score for illegal ones."""
        learnt = (self.between[...], self.first[...], self.last[...]) if self.has_crf else (0.0, 0.0, 0.0)
        masked = (jnp.where(legal[...], each, illegal) for legal, each in zip(self.legal, learnt, strict=True))
        return crf.Transitions(*masked)
