"""Whether a run fits into memory: asked before anything is made, as the system might end the process instead."""

import os

import jax

from jaxrnn.config import Config
from jaxrnn.data import NUM_FOLDS
from jaxrnn.errors import InputError

GATES = {"lstm": 4, "gru": 3, "elman": 1}


def check_memory(config: Config, *, num_tokens: int, copies: int, num_ngrams: int = 0) -> None:
    """Raises InputError if so many copies of the parameters cannot be held.

    Args:
      config: the run's.
      num_tokens: rows of the embedding.
      copies: of the parameters; see `copies_in_training`.
      num_ngrams: rows of the embedding of runs of words.
    """
    needed = copies * 4 * _count_parameters(config, num_tokens=num_tokens, num_ngrams=num_ngrams)
    stats = [device.memory_stats() for device in jax.local_devices()]
    available = sum(each["bytes_limit"] for each in stats if each) or os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    )
    if needed > available:
        model = config.model
        runs = f", model.ngram_features = {model.ngram_features}" if num_ngrams else ""
        raise InputError(
            f"model.embedding = {model.embedding}{runs}, model.hidden = {model.hidden} and model.num_layers = "
            f"{model.num_layers} need more than {needed / 2**30:,.0f} GiB, and this machine has "
            f"{available / 2**30:,.0f}; make one of them smaller"
        )


def copies_in_training(config: Config) -> int:
    """How many arrays as large as the parameters a training step holds.

    The parameters and their gradient, what the optimiser remembers of it, the mean of several gradients, and the
    average of the parameters, or those after each of the last epochs; and the gradient at texts without labels.
    """
    optim = config.optim
    moments = {"adam": 2, "adamw": 2, "lion": 1, "sgd": int(optim.momentum > 0)}[optim.optimizer]
    averages = int(optim.ema_decay is not None) + (optim.average_epochs or 0)
    return 2 + moments + (optim.accumulate_steps > 1) + averages + config.data.unlabelled


def _count_parameters(config: Config, *, num_tokens: int, num_ngrams: int) -> int:
    """Those of the tables and of the matrices of products; the vectors beside them are small."""
    model = config.model
    directions = 1 + model.bidirectional
    states = directions * model.hidden
    tables = num_tokens * model.embedding + num_ngrams * model.ngram_features
    # Times the logits, whose number is not known yet.
    ratios = (num_tokens + num_ngrams) * ((NUM_FOLDS + 1) * model.has_ratios + model.bag_of_words)
    inputs = model.embedding + (model.ngram_features if num_ngrams else 0) + config.data.ngrams * model.ratio_inputs
    inputs += (model.num_layers - 1) * states  # of all layers together
    layers = directions * GATES[model.cell] * model.hidden * (inputs + model.num_layers * model.hidden)
    attention = 0
    if "attention" in model.pooling:
        attention = states * states if model.attention == "dot" else 2 * states * model.hidden
    return tables + ratios + layers + attention
