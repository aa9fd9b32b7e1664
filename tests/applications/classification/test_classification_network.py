"""The network that a run starts with: initial weights, pretrained vectors, backend."""

import jax
import numpy as np
import pytest

from jaxrnn.applications import build_network, load_config, network_shapes
from jaxrnn.applications.classification import APPLICATION
from jaxrnn.applications.classification.data import ClassificationAssets
from jaxrnn.applications.classification.ratios import NUM_FOLDS
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError

SMALL = ["model.embedding=3", "model.hidden=4"]


def assets_of(*words):
    return ClassificationAssets(("bad", "good"), Vocabulary(words))


def parameters_of(config):
    return build_network(APPLICATION, config, assets_of("a", "b", "c")).parameters


def test_pretrained_vectors_fill_the_embedding(tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("film 1 2 3\nelsewhere 9 9 9\ngood -1 0 0.5\n<unk> 7 7 7\n")
    config = load_config(None, [*SMALL, f"vectors.path={vectors}"])
    assets = assets_of("good", "zzz", "film")
    before = build_network(APPLICATION, config, assets).parameters
    after = APPLICATION.start(config, assets, before)
    embedding = after.pop("embedding.embedding")
    random = np.asarray(before["embedding.embedding"])
    assert embedding.dtype == np.float32
    # <unk> and <pad> are zero, and a word without a vector keeps its random one.
    np.testing.assert_array_equal(embedding, [[0, 0, 0], [0, 0, 0], [-1, 0, 0.5], random[3], [1, 2, 3]])
    assert np.abs(random[3]).min() > 0
    assert all(after[name] is before[name] for name in after)


def test_without_vectors_nothing_changes():
    config = load_config(None, SMALL)
    parameters = parameters_of(config)
    assert APPLICATION.start(config, assets_of("a", "b", "c"), parameters) is parameters


def test_the_seed_decides_the_initial_weights():
    one, same, other = (parameters_of(load_config(None, [*SMALL, f"seed={seed}"])) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, same))
    assert not np.array_equal(one["embedding.embedding"], other["embedding.embedding"])
    assert not np.array_equal(one["layer.cells.0.w_h"], other["layer.cells.0.w_h"])


def test_ratios_are_constants_of_the_network_and_no_parameters():
    config = load_config(None, [*SMALL, "model.ratio_inputs=true"])
    ratios = np.ones((NUM_FOLDS + 1, 3, 1), np.float32)
    assets = ClassificationAssets(("bad", "good"), Vocabulary(["a"]), ratios=ratios)
    for split in (build_network(APPLICATION, config, assets), network_shapes(APPLICATION, config, assets)):
        assert not [name for name in split.parameters if "ratios" in name]
        assert split.parameters["layer.cells.0.w_x"].shape[0] == 3 + 1
    with pytest.raises(InputError, match=r"ratios\.safetensors"):
        build_network(APPLICATION, config, assets_of("a"))
