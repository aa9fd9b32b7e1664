"""Training that starts from the words and layers of a trained language model.

As Dai & Le 2015 (arXiv:1511.01432) do: embedding and recurrent layers are taken over, and everything is trained on.
"""

import logging
from operator import attrgetter
from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.config import Config
from jaxrnn.data import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.language import Language, load_language_model
from jaxrnn.settings import toml_value
from jaxrnn.training import Parameters

logger = logging.getLogger("jaxrnn")

# Settings that decide what the weights mean: the two runs must have the same.
SHARED = (
    *("data.strip_html", "data.lowercase", "data.ngrams"),
    *("model.cell", "model.embedding", "model.hidden", "model.num_layers", "model.double_bias"),
    "model.ratio_inputs",  # the layers of a language model read none
)

BY_WORD = ("embedding.embedding", "bias")  # parameters with a row for each word


class Pretrained(NamedTuple):
    """What training starts from; without a language model nothing, and everything stays as it is."""

    language: Language | None

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that are known."""
        return self.language.vocabulary if self.language else Vocabulary([])

    def put_into(self, parameters: Parameters, vocabulary: Vocabulary) -> Parameters:
        """The parameters with those of the language model in their place.

        A word that the model does not know keeps its first vector. The layers of a language model read forward: in a
        bidirectional layer, whose forward cell has the same name, the backward cell keeps its first weights.

        Args:
          parameters: of the run that starts, by name.
          vocabulary: that run's, which numbers the rows of its embedding.
        """
        if self.language is None:
            return parameters
        rows = vocabulary.rows_in(self.language.vocabulary)
        taken = {}
        for name, value in self.language.parameters.items():
            if name in parameters:
                is_known = (rows >= 0).reshape(-1, *[1] * (value.ndim - 1))
                taken[name] = jnp.where(is_known, value[rows], parameters[name]) if name in BY_WORD else value
        logger.info(
            "start: %s of %s words are known; at random: %s",
            *(f"{(rows >= 0).sum():,}", f"{len(rows):,}", ", ".join(sorted(parameters.keys() - taken)) or "nothing"),
        )
        return parameters | taken


def load_pretrained(config: Config) -> Pretrained:
    """The language model of `model.init_from`, if one is named.

    Raises:
      InputError: there is none in that folder, or its sizes are others.
    """
    if config.model.init_from is None:
        return Pretrained(None)
    try:
        language = load_language_model(expand_user(config.model.init_from))
    except InputError as error:
        raise InputError(f"model.init_from: {error}") from error
    for key in SHARED:
        expected, found = (attrgetter(key)(each) for each in (language.config, config))
        if expected != found:
            raise InputError(
                f"{key}: expected {toml_value(expected)}, as in the language model {config.model.init_from} "
                f"(model.init_from), got {toml_value(found)}"
            )
    if config.model.bidirectional and config.model.num_layers > 1:
        raise InputError(
            "model.bidirectional: expected false with model.init_from and more than one layer (the second layer of a "
            "language model reads one direction of the first), got true"
        )
    return Pretrained(language)
