import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.models import TextClassifier, num_parameters

TOKENS = np.array([[3, 4, 5, 6], [5, 3, 1, 1], [1, 1, 1, 1]], np.int32)
LENGTHS = np.array([4, 2, 0], np.int32)


def make(**changes):
    settings = {
        "vocabulary_size": 9,
        "num_classes": 3,
        "embedding_features": 4,
        "cell": "lstm",
        "hidden_features": 5,
        "num_layers": 2,
        "bidirectional": True,
        "dropout_rate": 0.5,
        "pooling": "last",
        "init": "orthogonal",
    }
    return TextClassifier(**settings | changes, rngs=nnx.Rngs(0))


def pooled_by_hand(pooling, y, state, lengths):
    """`[batch, features]` from outputs `[batch, time, features]` and states `[layers * directions, batch, hidden]`."""
    rows = []
    for row, n in enumerate(lengths):
        if isinstance(pooling, tuple):
            rows.append(np.concatenate([pooled_by_hand(kind, y, state, lengths)[row] for kind in pooling]))
        elif pooling == "last":
            rows.append(np.concatenate([state.h[-2, row], state.h[-1, row]]))
        elif n == 0:
            rows.append(np.zeros(y.shape[-1]))
        else:
            rows.append(getattr(np, pooling)(y[row, :n], axis=0))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("cell", "pooling"), [("lstm", "last"), ("gru", "mean"), ("elman", "max"), ("gru", ("max", "mean", "last"))]
)
def test_logits_are_the_head_of_the_pooled_states(cell, pooling):
    model = make(cell=cell, pooling=pooling)
    model.eval()
    logits = model(TOKENS, LENGTHS)
    x = np.asarray(model.embedding.embedding[...])[TOKENS]
    y, state = model.layer(x.swapaxes(0, 1), lengths=LENGTHS)
    pooled = pooled_by_hand(pooling, np.asarray(y).swapaxes(0, 1), state, LENGTHS)
    expected = pooled @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", ("mean", "max", "attention")])
def test_padding_changes_nothing(pooling):
    model = make(pooling=pooling)
    model.eval()
    padded = np.pad(TOKENS, ((0, 0), (0, 3)), constant_values=7)  # other tokens than the padding's, too
    np.testing.assert_allclose(model(padded, LENGTHS), model(TOKENS, LENGTHS), rtol=1e-5, atol=1e-6)


def test_vectors_of_runs_are_added_up_beside_the_words():
    model = make(num_ngrams=7, ngram_features=3)
    model.eval()
    tokens = np.stack([TOKENS, [[0, 2, 3, 4], [0, 6, 1, 1], [1, 1, 1, 1]], [[0, 0, 5, 0], [0, 0, 1, 1], [1] * 4]], -1)
    words, runs = (np.asarray(table.embedding[...]) for table in (model.embedding, model.ngrams))
    assert runs.shape == (7, 3)
    x = np.concatenate([words[tokens[..., 0]], runs[tokens[..., 1]] + runs[tokens[..., 2]]], -1)
    np.testing.assert_allclose(model.embed(tokens), x.swapaxes(0, 1), rtol=1e-6)
    expected = model.from_embeddings(jnp.asarray(x.swapaxes(0, 1)), LENGTHS)
    np.testing.assert_allclose(model(tokens, LENGTHS), expected, rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_and_follows_its_key():
    model = make()
    model.train()
    first = model(TOKENS, LENGTHS, rngs=nnx.Rngs(dropout=1))
    np.testing.assert_array_equal(first, model(TOKENS, LENGTHS, rngs=nnx.Rngs(dropout=1)))
    assert not np.allclose(first, model(TOKENS, LENGTHS, rngs=nnx.Rngs(dropout=2)))
    model.eval()
    assert not np.allclose(first, model(TOKENS, LENGTHS))


def test_the_reference_model_has_the_published_size():
    # 4,810,857 in PyTorch, whose LSTM has a second bias of 4 * 256 numbers in each of 4 directions and layers.
    model = make(
        vocabulary_size=25_002,
        num_classes=2,
        embedding_features=100,
        hidden_features=256,
        dropout_rate=0.5,
        init="torch",
    )
    assert num_parameters(model) == 4_810_857 - 4 * 4 * 256


def test_torch_initialisation():
    model = make(vocabulary_size=4000, embedding_features=25, hidden_features=32, init="torch", num_classes=40)
    embedding, kernel = model.embedding.embedding[...], model.head.kernel[...]
    assert abs(float(embedding.std()) - 1) < 0.01
    bound = 64**-0.5
    assert 0.95 * bound < float(jnp.abs(kernel).max()) <= bound
    assert abs(float(kernel.mean())) < 0.1 * bound
    assert float(jnp.abs(model.head.bias[...]).max()) <= bound


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match="num_classes: expected at least 2, got 1"):
        make(num_classes=1)
