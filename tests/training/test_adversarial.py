"""Perturbations of the embedded text against finite differences and an explicit Hessian, in float64."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxrnn.data import BucketedBatches
from jaxrnn.models import TextClassifier
from jaxrnn.tasks import classification_loss, kl_divergence
from jaxrnn.training import Perturbations, TrainState, adversarial, make_train_step, split_model
from jaxrnn.training.adversarial import divergent_direction, random_directions, scaled

SEED = 3
TIME, ROWS, FEATURES = 5, 4, 3


@pytest.fixture(autouse=True)
def in_float64(x64):
    pass


@pytest.fixture(scope="module")
def model():
    split = split_model(
        TextClassifier(
            vocabulary_size=12,
            num_classes=2,
            embedding_features=FEATURES,
            cell="elman",
            hidden_features=3,
            num_layers=1,
            bidirectional=False,
            dropout_rate=0.3,
            pooling="mean",
            init="orthogonal",
            rngs=nnx.Rngs(0),
        )
    )
    with jax.enable_x64(True):
        return split._replace(parameters={name: 3 * jnp.float64(value) for name, value in split.parameters.items()})


@pytest.fixture(scope="module")
def batch():
    """A full text, a short one, an empty one, and filler."""
    rng = np.random.default_rng(0)
    token_ids = [rng.integers(2, 12, n).astype(np.int32) for n in (5, 2, 0)]
    batches = BucketedBatches(token_ids, np.array([1, 0, 0], np.int32), boundaries=(TIME,), batch_size=ROWS, seed=0)
    return next(batches.in_order())


@pytest.fixture(scope="module")
def forward(model, batch):
    """The logits of parameters and a perturbation, with the dropout of the first step, as anyone would write it."""

    @jax.jit
    def logits(parameters, perturbation):
        network, rngs = model.merge(parameters), nnx.Rngs(dropout=jax.random.fold_in(jax.random.key(SEED), 0))
        network.train()
        x = network.embed(batch.tokens, rngs=rngs)
        return network.from_embeddings(x + perturbation, batch.lengths, rngs=rngs)

    return logits


def mean_loss(forward, batch, parameters, perturbation):
    """Over the rows that are not filler."""
    losses = classification_loss(forward(parameters, perturbation), jnp.asarray(batch.labels))
    return sum(losses[row] for row in np.flatnonzero(batch.weights)) / 3


@pytest.fixture(scope="module")
def unlabelled():
    """Of another length and number, with filler."""
    rng = np.random.default_rng(1)
    token_ids = [rng.integers(2, 12, n).astype(np.int32) for n in (6, 4)]
    return next(BucketedBatches(token_ids, [0, 0], boundaries=(7,), batch_size=3, seed=0).in_order())


def gradient_of_step(model, batch, perturbations):
    optimizer = optax.sgd(1.0)
    step = make_train_step(model, optimizer, SEED, perturbations=perturbations)
    state, totals = step(TrainState.initial(jax.tree.map(jnp.array, model.parameters), optimizer), batch)
    assert int(totals.examples) == 3
    return {name: model.parameters[name] - state.parameters[name] for name in model.parameters}, totals


def assert_near(found, expected, tolerance):
    for name, value in expected.items():
        largest = np.abs(value).max()
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * largest, err_msg=name)


def with_norm(directions, norm):
    lengths = np.sqrt((np.asarray(directions) ** 2).sum((0, 2), keepdims=True))
    return norm * np.divide(directions, lengths, where=lengths > 0, out=np.zeros_like(directions))


def test_the_adversarial_loss_is_that_at_the_steepest_step(model, batch, forward):
    h = 1e-5
    basis = h * np.eye(TIME * ROWS * FEATURES).reshape(-1, TIME, ROWS, FEATURES)
    loss = jax.jit(jax.vmap(lambda each: mean_loss(forward, batch, model.parameters, each)))
    slopes = (np.asarray(loss(basis)) - np.asarray(loss(-basis))) / (2 * h)
    worst = with_norm(slopes.reshape(TIME, ROWS, FEATURES), 0.7)
    lengths = np.asarray(batch.lengths)
    for row in range(ROWS):
        assert not worst[lengths[row] :, row].any()  # the padding has none
        assert np.linalg.norm(worst[:, row]) == pytest.approx(0.7 if lengths[row] else 0.0)

    gradient = jax.jit(jax.grad(lambda parameters, each: mean_loss(forward, batch, parameters, each)))
    plain, at_worst = (gradient(model.parameters, each) for each in (np.zeros_like(worst), worst))
    found, totals = gradient_of_step(model, batch, Perturbations(adversarial=0.7))
    assert_near(found, jax.tree.map(jnp.add, plain, at_worst), 1e-6)
    np.testing.assert_allclose(totals.loss / 3, mean_loss(forward, batch, model.parameters, 0 * worst), rtol=1e-12)


def test_the_virtual_adversarial_loss_follows_the_hessian(model, batch, forward, monkeypatch):
    monkeypatch.setattr(adversarial, "PROBE_NORM", 1e-5)
    shape = (TIME, ROWS, FEATURES)
    measured = forward(model.parameters, jnp.zeros(shape))
    real = np.flatnonzero(batch.weights)

    def divergence(parameters, perturbation):
        return sum(kl_divergence(measured, forward(parameters, perturbation))[row] for row in real) / len(real)

    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), 0), 2**31 - 1)
    random = random_directions(key, shape, jnp.asarray(batch.lengths))
    hessian = jax.jit(jax.hessian(divergence, argnums=1))(model.parameters, jnp.zeros(shape))
    worst = with_norm(np.einsum("tbduce,uce->tbd", hessian, with_norm(random, 1.0)), 2.0)
    for row, length in enumerate(batch.lengths):
        assert not random[length:, row].any()
        assert not worst[length:, row].any()
        assert np.linalg.norm(worst[:, row]) == pytest.approx(2.0 if length else 0.0)

    zero = np.zeros(shape)
    plain = jax.jit(jax.grad(lambda parameters: mean_loss(forward, batch, parameters, zero)))(model.parameters)
    at_worst = jax.jit(jax.grad(divergence))(model.parameters, worst)
    found, _ = gradient_of_step(model, batch, Perturbations(virtual_adversarial=2.0))
    assert_near(found, jax.tree.map(jnp.add, plain, at_worst), 1e-4)
    monkeypatch.undo()  # the probe as it is used goes nearly the same way
    probed = with_norm(divergent_direction(lambda each: divergence(model.parameters, each), random), 2.0)
    for row in np.flatnonzero(batch.lengths):
        assert (probed[:, row] * worst[:, row]).sum() > 0.9 * 4


def test_both_losses_add_up(model, batch):
    parts = [None, Perturbations(adversarial=0.7), Perturbations(virtual_adversarial=2.0)]
    plain, one, other = (gradient_of_step(model, batch, each)[0] for each in parts)
    both, _ = gradient_of_step(model, batch, Perturbations(0.7, 2.0))
    assert_near(both, {name: one[name] + other[name] - plain[name] for name in both}, 1e-6)


def test_unlabelled_texts_have_the_virtual_loss_alone(model, batch, unlabelled):
    """The gradient is that of the labelled batch without it plus that of the virtual loss there, written out."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), 0), 2**31 - 2)

    def logits(parameters, perturbation):
        network, rngs = model.merge(parameters), nnx.Rngs(dropout=key)
        network.train()
        x = network.embed(unlabelled.tokens, rngs=rngs)
        return network.from_embeddings(x + perturbation, unlabelled.lengths, rngs=rngs)

    def divergence(parameters, perturbation):
        measured = logits(model.parameters, jnp.zeros((7, 3, FEATURES)))
        return kl_divergence(measured, logits(parameters, perturbation))[:2].sum() / 2

    random = random_directions(jax.random.fold_in(key, 2**31 - 1), (7, 3, FEATURES), jnp.asarray(unlabelled.lengths))
    worst = with_norm(divergent_direction(lambda each: divergence(model.parameters, each), random), 2.0)
    virtual = jax.grad(divergence)(model.parameters, worst)
    assert all(np.abs(value).max() > 0 for value in virtual.values())
    for adversarial_norm in (None, 0.7):
        labelled, totals = gradient_of_step(model, batch, Perturbations(adversarial_norm))
        beside = replace(batch, unlabelled=unlabelled)
        found, totals_beside = gradient_of_step(model, beside, Perturbations(adversarial_norm, 2.0))
        assert_near(found, jax.tree.map(jnp.add, labelled, virtual), 1e-6)
        assert list(map(float, totals_beside)) == pytest.approx(list(map(float, totals)), rel=1e-12)


def test_the_norm_is_of_each_text_and_zero_stays_zero():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(4, 3, 2))
    directions[:, 1] = 0
    directions[:, 2] *= 1e-200  # whose squares are zero
    found = np.asarray(scaled(jnp.asarray(directions), 5.0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=(0, 2)), [5, 0, 5], rtol=1e-12)
    np.testing.assert_allclose(found[:, 0] * directions[0, 0, 0], directions[:, 0] * found[0, 0, 0], rtol=1e-12)
