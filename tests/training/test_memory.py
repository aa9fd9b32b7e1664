"""What a run holds in memory, counted before it is made."""

import jax
import numpy as np
import pytest

from jaxrnn import build, memory
from jaxrnn.config import load_config
from jaxrnn.data import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.training import split_model

WORDS = 50
SIZES = ["model.embedding=30", "model.hidden=20", "model.num_layers=3", "model.ngram_features=7"]


def make(*overrides):
    """A config, a vocabulary with runs of words if there are any, and the parameters of the model."""
    config = load_config(None, [*SIZES, *overrides])
    words = [str(number) for number in range(WORDS - 2)]
    vocabulary = Vocabulary(words).counted([words], longest=config.data.ngrams)
    return config, vocabulary, split_model(build.build_model(config, vocabulary, num_classes=2)).parameters


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.cell=lstm"],
        ["model.cell=gru", "model.pooling=attention", "model.bidirectional=false"],
        ["model.cell=elman", "model.pooling=mean,attention", "model.attention=dot", "data.ngrams=2"],
        ["model.ratio_inputs=true", "model.bag_of_words=true", "data.ngrams=2"],
        ["model.bag_of_words=true", "data.ngrams=2", "model.ngram_features=0"],
    ],
)
def test_a_model_that_memory_cannot_hold_is_refused(overrides, monkeypatch):
    config, vocabulary, parameters = make(*overrides)
    matrices = sum(value.size for name, value in parameters.items() if value.ndim > 1 and "head" not in name)
    matrices -= sum(parameters[name].size for name in parameters if name.endswith((".b", "score.kernel")))
    pages = {"SC_PAGE_SIZE": 4, "SC_PHYS_PAGES": 4 * matrices}
    monkeypatch.setattr(memory.os, "sysconf", pages.get)
    sizes = {"num_tokens": len(vocabulary), "num_ngrams": len(vocabulary.ngrams)}
    memory.check_memory(config, **sizes, copies=4)
    pages["SC_PHYS_PAGES"] -= 1
    with pytest.raises(InputError, match=r"model\.hidden = 20 .* need more than 0 GiB, and this machine has 0"):
        memory.check_memory(config, **sizes, copies=4)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optim.optimizer=sgd"],
        ["optim.optimizer=sgd", "optim.momentum=0.9"],
        ["optim.optimizer=lion", "optim.ema_decay=0.99"],
        ["optim.optimizer=adamw", "optim.accumulate_steps=2", "optim.ema_decay=0.99"],
        ["optim.average_epochs=3"],
    ],
)
def test_copies_are_what_the_optimiser_keeps(overrides):
    config = load_config(None, overrides)
    parameters = {"w": np.zeros(1000, np.float32)}
    state = build.build_optimizer(config, num_steps=10).transformation.init(parameters)
    kept = sum(leaf.size for leaf in jax.tree.leaves(state)) // 1000
    assert memory.copies_in_training(config) == 2 + kept  # the parameters and their gradient
