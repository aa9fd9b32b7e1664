import jax
import numpy as np
import optax
import pytest
from flax import nnx

from jaxrnn.data import BucketedBatches
from jaxrnn.models import TextClassifier
from jaxrnn.tasks import classification, classification_loss
from jaxrnn.training import TrainState, make_evaluate, make_train_step, split_model


@pytest.fixture(scope="module")
def model():
    return TextClassifier(
        vocabulary_size=12,
        num_classes=2,
        embedding_features=4,
        cell="gru",
        hidden_features=3,
        num_layers=1,
        bidirectional=True,
        dropout_rate=0.5,
        pooling="last",
        init="orthogonal",
        rngs=nnx.Rngs(0),
    )


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    token_ids = [rng.integers(2, 12, n).astype(np.int32) for n in (3, 1, 0, 5, 4)]
    labels = np.array([0, 1, 1, 0, 1], np.int32)
    return BucketedBatches(token_ids, labels, boundaries=(5,), batch_size=3, seed=0)


def logits_one_by_one(model, batches):
    model.eval()
    rows = {}
    for batch in batches.in_order():
        for i, tokens, length in zip(batch.indices, batch.tokens, batch.lengths, strict=True):
            if i >= 0:
                rows[int(i)] = model(tokens[None, : max(length, 1)], length[None])[0]
    return np.stack([rows[i] for i in sorted(rows)])


def test_split_model_names_every_parameter_and_merges_back(model):
    split = split_model(model)
    assert set(split.parameters) == {
        *("embedding.embedding", "head.kernel", "head.bias"),
        *(f"layer.cells.{k}.{name}" for k in (0, 1) for name in ("w_x", "w_h", "b", "b_hn")),
    }
    doubled = split.merge({name: 2 * value for name, value in split.parameters.items()})
    np.testing.assert_array_equal(doubled.head.kernel[...], 2 * model.head.kernel[...])


def test_evaluation_is_that_of_each_example_alone(model, batches):
    evaluation = make_evaluate(split_model(model))(split_model(model).parameters, batches.in_order())
    logits = logits_one_by_one(model, batches)
    labels = np.array([0, 1, 1, 0, 1], np.int32)
    np.testing.assert_allclose(evaluation.logits, logits, rtol=1e-5, atol=1e-6)
    losses = np.asarray(classification_loss(jax.numpy.asarray(logits), jax.numpy.asarray(labels)), np.float64)
    np.testing.assert_allclose(evaluation.totals.loss, losses.sum(), rtol=1e-5)
    assert evaluation.totals[1:] == (int(((logits[:, 0] > 0) == labels).sum()), 5, 13, 0)


def test_a_step_follows_the_gradient_of_the_mean_loss(model, batches):
    split = split_model(model)
    step = make_train_step(split, optax.sgd(0.1), seed=3)
    batch = next(batch for batch in batches.in_order() if -1 in batch.indices)
    assert batch.indices.tolist()[2] == -1  # two examples and a row of filler, which must count for nothing
    before = jax.tree.map(np.array, split.parameters)
    donated = jax.tree.map(jax.numpy.array, split.parameters)
    state, totals = step(TrainState.initial(donated, optax.sgd(0.1)), batch)

    def loss(parameters):
        key = jax.random.fold_in(jax.random.key(3), 0)
        network = split.merge(parameters)
        network.train()
        logits = network(batch.tokens, batch.lengths, rngs=nnx.Rngs(dropout=key))
        return classification_loss(logits, jax.numpy.asarray(batch.labels))[:2].mean()

    value, gradients = jax.value_and_grad(loss)(before)
    np.testing.assert_allclose(totals.loss / 2, value, rtol=1e-6)
    assert int(totals.examples) == 2
    assert int(state.step) == 1
    for name, gradient in gradients.items():
        np.testing.assert_allclose(state.parameters[name], before[name] - 0.1 * gradient, rtol=1e-5, atol=1e-7)


def test_smoothing_is_minimised_and_not_reported(model, batches):
    split = split_model(model)
    batch = next(batch for batch in batches.in_order() if -1 in batch.indices)
    before = jax.tree.map(np.array, split.parameters)
    states, losses = [], []
    for smoothing in (0.0, 0.3):
        step = make_train_step(split, optax.sgd(0.1), seed=3, task=classification(label_smoothing=smoothing))
        parameters = jax.tree.map(jax.numpy.array, before)
        state, totals = step(TrainState.initial(parameters, optax.sgd(0.1)), batch)
        states.append(state)
        losses.append(float(totals.loss))
    assert losses[0] == losses[1]

    def loss(parameters):
        network = split.merge(parameters)
        network.train()
        rngs = nnx.Rngs(dropout=jax.random.fold_in(jax.random.key(3), 0))
        logits = network(batch.tokens, batch.lengths, rngs=rngs)
        return classification_loss(logits, jax.numpy.asarray(batch.labels), label_smoothing=0.3)[:2].mean()

    for name, gradient in jax.grad(loss)(before).items():
        np.testing.assert_allclose(states[1].parameters[name], before[name] - 0.1 * gradient, rtol=1e-5, atol=1e-7)
    assert not np.array_equal(states[0].parameters["head.kernel"], states[1].parameters["head.kernel"])


def test_bfloat16_is_for_products_alone(model, batches):
    """Weights, gradients and losses stay float32, and are near those of float32 products."""
    half = TextClassifier(
        vocabulary_size=12,
        num_classes=2,
        embedding_features=4,
        cell="gru",
        hidden_features=3,
        num_layers=1,
        bidirectional=True,
        dropout_rate=0.5,
        pooling="last",
        init="orthogonal",
        dtype=jax.numpy.bfloat16,
        rngs=nnx.Rngs(0),
    )
    batch = next(batches.in_order())
    results = []
    for network in (model, half):
        split = split_model(network)
        step = make_train_step(split, optax.sgd(1.0), seed=3)
        parameters = jax.tree.map(jax.numpy.array, split.parameters)
        results.append((step(TrainState.initial(parameters, optax.sgd(1.0)), batch), split.parameters))
    ((state, totals), before), ((state_half, totals_half), _) = results
    assert totals_half.loss.dtype == np.float32
    np.testing.assert_allclose(totals_half.loss, totals.loss, rtol=1e-2)
    largest = max(np.abs(state.parameters[name] - value).max() for name, value in before.items())
    for name, value in state_half.parameters.items():
        assert value.dtype == np.float32, name
        np.testing.assert_allclose(value, state.parameters[name], rtol=0, atol=2e-2 * largest, err_msg=name)
    assert any(not np.array_equal(state_half.parameters[name], state.parameters[name]) for name in before)
