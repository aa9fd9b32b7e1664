import jax
import numpy as np
import pytest

from jaxrnn import build
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


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_a_model_that_memory_cannot_hold_is_refused(cell, monkeypatch):
    config = load_config(None, ["model.embedding=30", "model.hidden=20", "model.num_layers=3", f"model.cell={cell}"])
    matrices = sum(
        value.size for name, value in parameters_of(config, 50).items() if "w_" in name or "embedding" in name
    )
    memory = {"SC_PAGE_SIZE": 4, "SC_PHYS_PAGES": 4 * matrices}
    monkeypatch.setattr(build.os, "sysconf", memory.get)
    build.check_memory(config, num_tokens=50, copies=4)
    memory["SC_PHYS_PAGES"] -= 1
    with pytest.raises(InputError, match=r"model\.hidden = 20 .* need more than 0 GiB, and this machine has 0"):
        build.check_memory(config, num_tokens=50, copies=4)
