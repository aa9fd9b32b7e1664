"""The classifier against its parts put together by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from classifier_cases import LENGTHS, TOKENS, VOCABULARY, make
from flax import nnx

from jaxrnn.applications.classification.task import classification_loss, classification_task
from jaxrnn.data import Padded
from jaxrnn.training import split_model


def pooled_by_hand(pooling, y, state, lengths):
    """`[batch, features]` from outputs `[batch, time, features]` and states `[layers * directions, batch, hidden]`."""
    rows = []
    for row, n in enumerate(lengths):
        if "," in pooling:
            parts = [pooled_by_hand(kind, y, state, lengths)[row] for kind in pooling.split(",")]
            rows.append(np.concatenate(parts))
        elif pooling == "last":
            rows.append(np.concatenate([state.h[-2, row], state.h[-1, row]]))
        elif n == 0:
            rows.append(np.zeros(y.shape[-1]))
        else:
            rows.append(getattr(np, pooling)(y[row, :n], axis=0))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("cell", "pooling"), [("lstm", "last"), ("gru", "mean"), ("elman", "max"), ("gru", "max,mean,last")]
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


@pytest.mark.parametrize("pooling", ["last", "mean,max,attention"])
def test_padding_changes_nothing(pooling):
    model = make(pooling=pooling)
    model.eval()
    padded = np.pad(TOKENS, ((0, 0), (0, 3)), constant_values=7)  # other tokens than the padding's, too
    np.testing.assert_allclose(model(padded, LENGTHS), model(TOKENS, LENGTHS), rtol=1e-5, atol=1e-6)


NGRAMS = np.array([[0, 2, 3, 2], [0, 6, 1, 1], [1, 1, 1, 1]], np.int32)
ROWS = np.stack([TOKENS, VOCABULARY + NGRAMS], -1)  # of the table of ratios
NUM_FOLDS, NUM_ROWS = 10, VOCABULARY + 7


def with_bag(*, num_classes=3, **settings):
    """A model with a bag, whose weights and ratios are random."""
    rng = np.random.default_rng(0)
    ratios = rng.normal(size=(NUM_FOLDS + 1, NUM_ROWS, 1 if num_classes == 2 else num_classes)).astype(np.float32)
    settings = {"ratio_inputs": True, "bag_of_words": True} | settings
    model = make(num_classes=num_classes, ratios=ratios, longest_ngram=2, **settings)
    for variable in (model.bag.weight, model.bag.bias):
        variable[...] = jnp.asarray(rng.normal(size=variable.shape), jnp.float32)
    return model


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_bag_answers_beside_a_network_that_reads_ratios(num_classes):
    model = with_bag(num_classes=num_classes)
    model.eval()
    table, weight, bias = (np.asarray(each[...]) for each in (model.ratios.table, model.bag.weight, model.bag.bias))
    bags = []
    for rows, length in zip(ROWS, LENGTHS, strict=True):
        seen = {*rows[:length].flatten()}
        bags.append(bias + sum((weight[row] * table[-1, row] for row in seen), np.zeros_like(bias)))
    vectors = np.asarray(model.embedding.embedding[...])[TOKENS]
    x = np.concatenate([vectors, table[-1][ROWS[..., 0]], table[-1][ROWS[..., 1]]], -1)
    y, state = model.layer(jnp.asarray(x.swapaxes(0, 1)), lengths=LENGTHS)
    pooled = pooled_by_hand("last", np.asarray(y).swapaxes(0, 1), state, LENGTHS)
    network = pooled @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])
    answers = model.answers(model.embed(TOKENS, rows=ROWS), LENGTHS)
    np.testing.assert_allclose(answers[0], network, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers[1], bags, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(TOKENS, LENGTHS, rows=ROWS), (network + bags) / 2, rtol=1e-5, atol=1e-6)
    padded = [np.pad(each, [(0, 0), (0, 3), (0, 0)][: each.ndim], constant_values=5) for each in (TOKENS, ROWS)]
    logits = model(padded[0], LENGTHS, rows=padded[1])  # with other numbers than the padding's
    np.testing.assert_allclose(logits, (network + bags) / 2, rtol=1e-5, atol=1e-6)


def test_without_ratio_inputs_the_network_is_that_without_a_bag():
    beside, alone = with_bag(ratio_inputs=False), make()
    for model in (beside, alone):
        model.eval()
    network, bag = beside.answers(beside.embed(TOKENS, rows=ROWS), LENGTHS)
    np.testing.assert_array_equal(network, alone(TOKENS, LENGTHS))
    assert jnp.abs(bag[:2] - network[:2]).max() > 0.1


def test_both_answers_are_trained_by_the_ratios_of_other_folds():
    model = with_bag(dropout_rate=0.0)
    model.train()
    folds, labels, weights = (jnp.array(each) for each in ([3, 0, 9], [2, 0, 1], [1.0, 1.0, 0.0]))
    tokens, rows = (Padded(jnp.asarray(each), jnp.asarray(LENGTHS)) for each in (TOKENS, ROWS))
    arrays = {"tokens": tokens, "rows": rows, "label": labels, "fold": folds}
    measured = classification_task().train(model, arrays, weights, (), nnx.Rngs(0))
    network, bag = model.answers(model.embed(TOKENS, rows=ROWS, folds=folds), LENGTHS)
    assert jnp.abs(bag - model.answers(model.embed(TOKENS, rows=ROWS), LENGTHS)[1])[:2].min() > 0.01  # other ratios
    losses = [classification_loss(answer, labels) for answer in (network, bag)]
    np.testing.assert_allclose(measured.loss, sum(each[:2].sum() for each in losses), rtol=1e-6)
    np.testing.assert_allclose(
        measured.sums["loss"], classification_loss((network + bag) / 2, labels)[:2].sum(), rtol=1e-6
    )
    assert (int(measured.sums["count"]), int(measured.sums["tokens"])) == (2, 6)


def test_ratios_without_rows_are_refused():
    model = with_bag()
    model.eval()
    with pytest.raises(ValueError, match="rows: expected the rows of the table of ratios"):
        model(TOKENS, LENGTHS)


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
    inputs = model.embed(TOKENS, rngs=nnx.Rngs(dropout=1))
    x = inputs.vectors
    plain = np.asarray(model.embedding.embedding[...])[TOKENS.T]
    dropped = np.asarray(x) == 0
    assert 0.2 < dropped.mean() < 0.8
    np.testing.assert_allclose(np.asarray(x)[~dropped], 2 * plain[~dropped], rtol=1e-6)
    (logits,) = model.answers(inputs, LENGTHS, rngs=nnx.Rngs(dropout=1))
    np.testing.assert_array_equal(logits, model.answers(inputs, LENGTHS, rngs=nnx.Rngs(dropout=2))[0])

    model = make(dropout_rate=0.0, word_dropout_rate=0.5)
    x, unknown = np.asarray(model.embed(TOKENS, rngs=nnx.Rngs(dropout=1)).vectors), model.embedding.embedding[0]
    replaced = (x == unknown).all(-1)
    assert 0.2 < replaced.mean() < 0.8
    np.testing.assert_array_equal(x[~replaced], plain[~replaced])


@pytest.mark.parametrize("settings", [{"embedding_dropout_rate": 0.9}, {"word_dropout_rate": 0.9}])
def test_dropout_of_the_embedding_leaves_ratios_and_bag_alone(settings):
    """A term of the bag that is dropped or scaled would be another classifier than the one that is evaluated."""
    model = with_bag(dropout_rate=0.0, **settings)
    model.train()
    training = model.embed(TOKENS, rows=ROWS, rngs=nnx.Rngs(dropout=1))
    model.eval()
    evaluation = model.embed(TOKENS, rows=ROWS)
    np.testing.assert_array_equal(training.terms, evaluation.terms)
    np.testing.assert_array_equal(training.vectors[..., 4:], evaluation.vectors[..., 4:])
    changed = (training.vectors[..., :4] != evaluation.vectors[..., :4]).any(-1)
    assert changed.mean() > 0.5


def test_only_what_is_trained_is_a_parameter():
    parameters = split_model(with_bag(num_layers=1, bidirectional=False)).parameters
    cell = {f"layer.cells.0.{name}" for name in ("w_x", "w_h", "b")}
    assert parameters.keys() == {
        *("embedding.embedding", "head.kernel", "head.bias", "bag.weight", "bag.bias"),
        *cell,
    }


def test_the_reference_model_has_the_published_size():
    # 4,810,857 in PyTorch, whose LSTM has a second bias of 4 * 256 numbers in each of 4 directions and layers.
    model = make(
        vocabulary_size=25_002,
        num_classes=2,
        embedding=100,
        hidden=256,
        dropout_rate=0.5,
        init="torch",
    )
    assert split_model(model).num_parameters == 4_810_857 - 4 * 4 * 256


def test_torch_initialisation():
    model = make(vocabulary_size=4000, embedding=25, hidden=32, init="torch", num_classes=40)
    embedding, kernel = model.embedding.embedding[...], model.head.kernel[...]
    assert abs(float(embedding.std()) - 1) < 0.01
    bound = 64**-0.5
    assert 0.95 * bound < float(jnp.abs(kernel).max()) <= bound
    assert abs(float(kernel.mean())) < 0.1 * bound
    assert float(jnp.abs(model.head.bias[...]).max()) <= bound
