import jax
import numpy as np
import pytest

from jaxrnn import build, core
from jaxrnn.config import load_config
from jaxrnn.data import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.training import split_model

SMALL = ["model.embedding=3", "model.hidden=4"]


def parameters_of(config, num_tokens):
    return split_model(build.build_model(config, Vocabulary(map(str, range(num_tokens - 2))), num_classes=2)).parameters


def test_pretrained_vectors_fill_the_embedding(tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("film 1 2 3\nelsewhere 9 9 9\ngood -1 0 0.5\n<unk> 7 7 7\n")
    config = load_config(None, [*SMALL, f"vectors.path={vectors}"])
    vocabulary = Vocabulary(["good", "zzz", "film"])
    before = parameters_of(config, len(vocabulary))
    after = build.with_vectors(config, before, vocabulary)
    embedding = after.pop("embedding.embedding")
    random = np.asarray(before["embedding.embedding"])
    assert embedding.dtype == np.float32
    # <unk> and <pad> are zero, a word without a vector keeps its random one.
    np.testing.assert_array_equal(embedding, [[0, 0, 0], [0, 0, 0], [-1, 0, 0.5], random[3], [1, 2, 3]])
    assert np.abs(random[3]).min() > 0
    assert all(after[name] is before[name] for name in after)


def test_without_vectors_nothing_changes():
    config = load_config(None, SMALL)
    parameters = parameters_of(config, 5)
    assert build.with_vectors(config, parameters, Vocabulary(["a", "b", "c"])) is parameters


def test_what_the_vocabulary_says_of_frequencies_reaches_the_model():
    config = load_config(None, [*SMALL, "model.normalize_embedding=true", "model.ngram_features=2"])
    texts = [["a", "b", "b", "c"], ["b", "c", "x"]]
    vocabulary = Vocabulary(["b", "a", "c"]).counted(texts, longest=2, min_count=2)
    model = build.build_model(config, vocabulary, num_classes=2)
    np.testing.assert_allclose(model.embedding.frequencies[...], np.array([1, 0, 3, 1, 2]) / 7)
    np.testing.assert_allclose(model.ngrams.frequencies[...], [0, 0, 1])  # "b c" twice
    assert model.layer.cells[0].in_features == 5
    with pytest.raises(InputError, match=r"expected a vocabulary\.txt with counts"):
        build.build_model(config, Vocabulary(["b"]), num_classes=2)


def test_bucketed_rows_are_not_trimmed():
    """Of a layer that by itself would be, as it is large and is given lengths."""
    config = load_config(None, ["model.hidden=256"])
    layer = build.build_model(config, Vocabulary(["a", "b"]), num_classes=2).layer
    weights = [[cell.params for cell in layer.cells[:2]]]
    x = jax.ShapeDtypeStruct((256, 64, layer.cells[0].in_features), "float32")
    alone = core.resolve_backend(core.lstm_cell(), x, weights, lengths=np.full(64, 9))
    assert (alone.name, layer.backend) == ("trimmed_scan", "fused_scan")


def test_the_seed_decides_the_first_weights():
    one, same, other = (parameters_of(load_config(None, [*SMALL, f"seed={seed}"]), 5) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, same))
    assert not np.array_equal(one["embedding.embedding"], other["embedding.embedding"])
    assert not np.array_equal(one["layer.cells.0.w_h"], other["layer.cells.0.w_h"])


def test_clipping_limits_the_gradient():
    config = load_config(None, ["optim.max_grad_norm=0.5", "optim.learning_rate=0.1"])
    parameters = {"w": np.zeros(2, np.float32)}
    gradient = {"w": np.array([30.0, 40.0], np.float32)}
    for each, scale in ((config, 0.01), (load_config(None, []), 1)):
        optimizer = build.build_optimizer(each, num_steps=1).transformation
        _, state = optimizer.update(gradient, optimizer.init(parameters), parameters)
        # Adam's first moment after a step is a tenth of the gradient that reached it.
        moment = jax.tree.leaves(state, is_leaf=lambda node: hasattr(node, "mu"))
        (mu,) = (node.mu["w"] for node in moment if hasattr(node, "mu"))
        np.testing.assert_allclose(mu, 0.1 * scale * gradient["w"], rtol=1e-5)
