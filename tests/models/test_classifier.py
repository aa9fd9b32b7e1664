import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.models import TextClassifier, num_parameters
from jaxrnn.tasks import Rows, classification, classification_loss

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


def with_bag(**changes):
    """A model that reads ratios and has a bag, of numbers at random."""
    model = make(num_ngrams=7, longest_ngram=2, ngram_features=0, ratio_inputs=True, bag_of_words=True, **changes)
    rng = np.random.default_rng(0)
    for variable in (model.ratios.table, model.bag.weight, model.bag.bias):
        variable[...] = jnp.asarray(rng.normal(size=variable.shape), jnp.float32)
    return model


RUNS = np.array([[0, 2, 3, 2], [0, 6, 1, 1], [1, 1, 1, 1]], np.int32)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_bag_answers_beside_a_network_that_reads_ratios(num_classes):
    model = with_bag(num_classes=num_classes)
    model.eval()
    tokens = np.stack([TOKENS, RUNS], -1)
    table, weight, bias = (np.asarray(each[...]) for each in (model.ratios.table, model.bag.weight, model.bag.bias))
    assert model.ngrams is None
    bags = []
    for words, runs, length in zip(TOKENS, RUNS, LENGTHS, strict=True):
        rows = {*words[:length], *(9 + runs[:length])}
        bags.append(bias + sum((weight[row] * table[-1, row] for row in rows), np.zeros_like(bias)))
    vectors = np.asarray(model.embedding.embedding[...])[TOKENS]
    x = np.concatenate([vectors, table[-1][TOKENS], table[-1][9 + RUNS]], -1)
    y, state = model.layer(jnp.asarray(x.swapaxes(0, 1)), lengths=LENGTHS)
    pooled = pooled_by_hand("last", np.asarray(y).swapaxes(0, 1), state, LENGTHS)
    network = pooled @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])
    answers = model.answers(model.embed(tokens), LENGTHS)
    np.testing.assert_allclose(answers[0], network, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers[1], bags, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(tokens, LENGTHS), (network + bags) / 2, rtol=1e-5, atol=1e-6)
    padded = np.pad(tokens, ((0, 0), (0, 3), (0, 0)), constant_values=5)  # other tokens than the padding's
    np.testing.assert_allclose(model(padded, LENGTHS), (network + bags) / 2, rtol=1e-5, atol=1e-6)


def test_both_answers_are_trained_by_the_ratios_of_other_folds():
    model = with_bag(dropout_rate=0.0)
    model.train()
    tokens = np.stack([TOKENS, RUNS], -1)
    folds, labels, weights = (jnp.array(each) for each in ([3, 0, 9], [2, 0, 1], [1.0, 1.0, 0.0]))
    rows = Rows(jnp.asarray(tokens), jnp.asarray(LENGTHS), labels, weights, folds)
    measured = classification().train(model, rows, (), nnx.Rngs(0), None)
    network, bag = model.answers(model.embed(tokens, folds=folds), LENGTHS)
    assert jnp.abs(bag - model.answers(model.embed(tokens), LENGTHS)[1])[:2].min() > 0.01  # other ratios
    losses = [classification_loss(answer, labels) for answer in (network, bag)]
    np.testing.assert_allclose(measured.loss, sum(each[:2].sum() for each in losses), rtol=1e-6)
    np.testing.assert_allclose(measured.logits, (network + bag) / 2, rtol=1e-6)
    np.testing.assert_allclose(
        measured.totals.loss, classification_loss((network + bag) / 2, labels)[:2].sum(), rtol=1e-6
    )

    # A perturbation is of the vectors alone: the bag answers as before.
    beside = classification().train(model, rows, (), nnx.Rngs(0), jnp.ones((4, 3, 4)))
    moved = model.embed(tokens, folds=folds).at[..., :4].add(1.0)
    np.testing.assert_allclose(beside.logits, (model.answers(moved, LENGTHS)[0] + bag) / 2, rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_and_follows_its_key():
    model = make()
    model.train()
    first = model(TOKENS, LENGTHS, rngs=nnx.Rngs(dropout=1))
    np.testing.assert_array_equal(first, model(TOKENS, LENGTHS, rngs=nnx.Rngs(dropout=1)))
    assert not np.allclose(first, model(TOKENS, LENGTHS, rngs=nnx.Rngs(dropout=2)))
    model.eval()
    assert not np.allclose(first, model(TOKENS, LENGTHS))


def test_each_dropout_has_its_own_rate():
    model = make(dropout_rate=0.0, embedding_dropout_rate=0.5)
    model.train()
    x = model.embed(TOKENS, rngs=nnx.Rngs(dropout=1))
    plain = np.asarray(model.embedding.embedding[...])[TOKENS.T]
    dropped = np.asarray(x) == 0
    assert 0.2 < dropped.mean() < 0.8
    np.testing.assert_allclose(np.asarray(x)[~dropped], 2 * plain[~dropped], rtol=1e-6)
    logits = model.from_embeddings(x, LENGTHS, rngs=nnx.Rngs(dropout=1))
    np.testing.assert_array_equal(logits, model.from_embeddings(x, LENGTHS, rngs=nnx.Rngs(dropout=2)))

    model = make(dropout_rate=0.0, word_dropout_rate=0.5)
    x, unknown = np.asarray(model.embed(TOKENS, rngs=nnx.Rngs(dropout=1))), model.embedding.embedding[0]
    replaced = (x == unknown).all(-1)
    assert 0.2 < replaced.mean() < 0.8
    np.testing.assert_array_equal(x[~replaced], plain[~replaced])


def test_words_and_runs_are_normalised_by_their_own_frequencies():
    frequencies = np.arange(9), np.arange(7) % 3
    model = make(num_ngrams=7, ngram_features=3, frequencies=frequencies)
    model.eval()
    tokens = np.stack([TOKENS, TOKENS % 7], -1)
    x = model.embed(tokens)
    for table, counts, part, numbers in (
        (model.embedding, frequencies[0], x[..., :4], tokens[..., 0].T),
        (model.ngrams, frequencies[1], x[..., 4:], tokens[..., 1].T),
    ):
        vectors, f = np.asarray(table.embedding[...], np.float64), counts / counts.sum()
        vectors = (vectors - f @ vectors) / np.sqrt(f @ (vectors - f @ vectors) ** 2)
        np.testing.assert_allclose(part, vectors[numbers], rtol=1e-3, atol=1e-4)


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
