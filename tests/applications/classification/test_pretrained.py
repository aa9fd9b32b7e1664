"""Classifiers that start from a language model's words and layers."""

import shutil

import numpy as np
import pytest
from small_data import SMALL, write_data

from jaxrnn import applications, train
from jaxrnn.applications import build_network
from jaxrnn.errors import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    return [f"data.source={folder}", f"data.cache_dir={tmp_path_factory.mktemp('cache')}"]


@pytest.fixture(scope="module")
def language_model(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "lm"
    small = [each for each in SMALL if not each.startswith("train.epochs")]
    settings = ["task=language_modelling", "data.window=16", "train.epochs=1", *small]
    assert train.main([*data, *settings, f"run_dir={path}"]) == 0
    return path


def start(settings):
    """The parameters with which a run starts, the initial ones, and the run's vocabulary."""
    config = applications.load_config(None, settings)
    application = applications.get(config.task)
    assets = application.prepare(config).assets
    initial = build_network(application, config, assets).parameters
    return application.start(config, assets, initial), initial, assets.vocabulary


@pytest.mark.parametrize("bidirectional", ["true", "false"])
def test_words_and_layers_are_those_of_the_language_model(data, language_model, bidirectional):
    settings = [*data, *SMALL, f"model.init_from={language_model}", f"model.bidirectional={bidirectional}"]
    parameters, initial, vocabulary = start([*settings, "data.vocabulary_size=5"])
    source = applications.load(language_model)
    known = source.assets.vocabulary
    assert vocabulary.words[:5] == tuple(word for word in known.words if word != "<end>")[:5]
    assert set(known.words) - {"<end>"} <= set(vocabulary.words)  # all words that the language model knows
    for row, word in enumerate(vocabulary.tokens):
        theirs = source.parameters["embedding.embedding"][known.tokens.index(word)]
        np.testing.assert_array_equal(parameters["embedding.embedding"][row], theirs)
    forward = {name for name in parameters if name.startswith("layer.cells.0.")}
    assert forward
    for name in forward:
        np.testing.assert_array_equal(parameters[name], source.parameters[name])
    for name in parameters.keys() - forward - {"embedding.embedding"}:
        np.testing.assert_array_equal(parameters[name], initial[name])
    assert parameters.keys() == initial.keys()


def test_words_that_the_language_model_does_not_know_keep_their_vector(data, language_model, tmp_path):
    lines = [f"brandnew {word} number{i},{word}" for word in ("lovely", "dull") for i in range(10)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]))
    settings = [data[1], *SMALL, f"data.source={tmp_path / 'train.csv'}", f"model.init_from={language_model}"]
    parameters, initial, vocabulary = start(settings)
    row = vocabulary.tokens.index("brandnew")
    np.testing.assert_array_equal(parameters["embedding.embedding"][row], initial["embedding.embedding"][row])
    other = vocabulary.tokens.index("lovely")
    assert (parameters["embedding.embedding"][other] != initial["embedding.embedding"][other]).any()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.hidden=9", "model.hidden is 8 in the language model .* and 9 in this run"),
        ("data.lowercase=false", "data.lowercase is true"),
        ("model.ratio_inputs=true", "model.ratio_inputs: expected false"),
    ],
)
def test_a_language_model_that_does_not_fit_is_refused(data, language_model, setting, message):
    with pytest.raises(InputError, match=message):
        start([*data, *SMALL, f"model.init_from={language_model}", setting])


def test_two_layers_read_one_direction(data, language_model, tmp_path):
    deep = shutil.copytree(language_model, tmp_path / "deep")
    config = (deep / "config.toml").read_text().replace("num_layers = 1", "num_layers = 2")
    (deep / "config.toml").write_text(config)
    settings = [*data, *SMALL, f"model.init_from={deep}", "model.num_layers=2"]
    with pytest.raises(InputError, match=r"model\.bidirectional: expected false with more than one layer"):
        start(settings)


def test_what_is_no_language_model_is_refused(data, tmp_path):
    with pytest.raises(InputError, match=r"model\.init_from: .*expected the folder of a run"):
        start([*data, *SMALL, f"model.init_from={tmp_path}"])
