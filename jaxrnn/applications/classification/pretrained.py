"""Training that starts from the words and the layers of a trained language model.

Dai & Le 2015 (arXiv:1511.01432) do the same: the embedding and the recurrent layers are taken over, and everything is
trained further.
"""

import logging
from operator import attrgetter

import jax.numpy as jnp

from jaxrnn.applications.classification.config import ClassificationConfig
from jaxrnn.config import RunConfig, toml_value
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.files import expand_user
from jaxrnn.training import Parameters, RunFolder

logger = logging.getLogger("jaxrnn")

# Settings that decide what the weights mean: both runs must have the same.
SHARED = (
    "data.strip_html",
    "data.lowercase",
    "model.cell",
    "model.embedding",
    "model.hidden",
    "model.num_layers",
    "model.double_bias",
)

BY_WORD = "embedding.embedding"  # the parameter with a row for each word


def pretrained_vocabulary(config: ClassificationConfig) -> Vocabulary:
    """The words of the language model that `model.init_from` names; none without one.

    Raises:
      InputError: There is no language model in that folder, or its settings are not those of this run.
    """
    from jaxrnn import applications  # here, not above: that module registers this one

    if config.model.init_from is None:
        return Vocabulary([])
    path = expand_user(config.model.init_from)
    try:
        folder = RunFolder.open(path)
        earlier = applications.load_config(folder.config, [])
        if earlier.task != "language_modelling":
            raise InputError(f"{path}: expected a run with task = language_modelling, its task is {earlier.task}")
        _compare(config, earlier)
        return applications.get(earlier.task).assets.load(path).vocabulary
    except InputError as error:
        raise InputError(f"model.init_from: {error}") from error


def with_pretrained(config: ClassificationConfig, parameters: Parameters, vocabulary: Vocabulary) -> Parameters:
    """Parameters with those of the language model that `model.init_from` names in their place.

    A word that the language model does not know keeps its initial vector. A language model reads forwards: in a
    bidirectional layer, whose forward cell has the same name, the backward cell keeps its initial weights.

    Args:
      config: The run's.
      parameters: The initial parameters of the classifier, by name.
      vocabulary: The run's, which numbers the rows of the embedding.

    Raises:
      InputError: The folder holds no checkpoint.
    """
    from jaxrnn import applications

    if config.model.init_from is None:
        return parameters
    try:
        language_model = applications.load(expand_user(config.model.init_from))
    except InputError as error:
        raise InputError(f"model.init_from: {error}") from error
    rows = vocabulary.rows_in(language_model.assets.vocabulary)
    is_known = (rows >= 0)[:, None]
    taken = {name: value for name, value in language_model.parameters.items() if name in parameters}
    taken[BY_WORD] = jnp.where(is_known, taken[BY_WORD][rows], parameters[BY_WORD])
    logger.info(
        "start: the language model knows %s of %s words; initialised at random: %s",
        *(f"{is_known.sum():,}", f"{len(rows):,}", ", ".join(sorted(parameters.keys() - taken)) or "nothing"),
    )
    return parameters | taken


def _compare(config: ClassificationConfig, earlier: RunConfig) -> None:
    for key in SHARED:
        expected, given = (attrgetter(key)(each) for each in (earlier, config))
        if expected != given:
            raise InputError(
                f"{key} is {toml_value(expected)} in the language model {config.model.init_from} and "
                f"{toml_value(given)} in this run; expected the same"
            )
    if config.model.ratio_inputs:
        raise InputError("model.ratio_inputs: expected false, as the layers of a language model read none, got true")
    if config.model.bidirectional and config.model.num_layers > 1:
        raise InputError(
            "model.bidirectional: expected false with more than one layer (the second layer of a language model reads "
            "one direction of the first), got true"
        )
