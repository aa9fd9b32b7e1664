"""Several devices compute what one does: order, dropout, losses, parameters."""

from itertools import islice

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrnn.data import BucketedBatches, WithUnlabelled
from jaxrnn.models import TextClassifier
from jaxrnn.training import (
    Checkpoints,
    Devices,
    Perturbations,
    Position,
    TrainState,
    make_evaluate,
    make_optimizer,
    make_train_step,
    split_model,
)  # fmt: skip
from jaxrnn.training.optimizer import epoch_ended, evaluated_parameters

BATCH = 12


@pytest.fixture(scope="module")
def model():
    network = TextClassifier(
        vocabulary_size=30,
        num_classes=3,
        embedding_features=8,
        cell="gru",
        hidden_features=8,
        num_layers=1,
        bidirectional=True,
        dropout_rate=0.5,
        pooling="mean",
        init="orthogonal",
        rngs=nnx.Rngs(0),
    )
    split = split_model(network)
    return split._replace(parameters=jax.tree.map(np.array, split.parameters))  # steps donate, this must stay


def batches_for(devices):
    rng = np.random.default_rng(0)
    token_ids = [rng.integers(2, 30, n).astype(np.int32) for n in rng.integers(0, 9, 40)]
    labels = rng.integers(0, 3, 40)
    rows = devices.rows(BATCH)
    return BucketedBatches(token_ids, labels, boundaries=(8,), batch_size=BATCH, seed=0, rows=rows)


def train(model, devices, *, then=None, folder=None):
    """An epoch, with all that an optimiser may remember: the state, the losses, and the evaluation after it.

    With `then`, its second half is on those devices, after a save and a restore in `folder`.
    """
    optimizer = make_optimizer(rule="adamw", learning_rate=0.01, num_steps=8, weight_decay=0.1, ema_decay=0.5)

    def begin(devices):
        return devices.put(TrainState.initial(devices.put(model.parameters), optimizer.transformation))

    def steps(devices, state, start, stop):
        step = make_train_step(model, optimizer.transformation, 1, devices=devices)
        losses = []
        for batch in islice(batches_for(devices).epoch(0, start=start), stop - start):
            state, totals = step(state, batch)
            losses.append(float(totals.loss))
        return state, losses

    if then is None:
        state, losses = steps(devices, begin(devices), 0, 4)
    else:
        state, losses = steps(devices, begin(devices), 0, 2)
        checkpoints = Checkpoints(folder)
        checkpoints.save_latest(state, Position())
        checkpoints.close()
        devices = then
        restored, _ = Checkpoints(folder).restore_latest(begin(devices))
        state, more = steps(devices, restored, 2, 4)
        losses += more
    evaluation = make_evaluate(model, devices=devices)(state.parameters, batches_for(devices).in_order())
    return state, losses, evaluation


@pytest.fixture(scope="module")
def alone(model):
    return train(model, Devices.of(1))


def assert_same(actual, expected):
    (state, losses, evaluation), (state_1, losses_1, evaluation_1) = actual, expected
    np.testing.assert_allclose(losses, losses_1, rtol=1e-5)
    np.testing.assert_allclose(evaluation.logits, evaluation_1.logits, rtol=0, atol=1e-5)
    assert evaluation.totals[1:] == evaluation_1.totals[1:]
    for path, leaf in jax.tree.leaves_with_path(state):
        expected_leaf = dict(jax.tree.leaves_with_path(state_1))[path]
        np.testing.assert_allclose(leaf, expected_leaf, rtol=0, atol=1e-5, err_msg=str(path))


def test_rows_on_several_devices(model, alone):
    """12 rows over 8 devices: the last ones fill up, and neither the mean nor dropout's masks know of them."""
    devices = Devices.of(8)
    rows = devices.put_rows(next(batches_for(devices).epoch(0)))
    assert rows.tokens.shape == (16, 8)
    assert rows.tokens.sharding.shard_shape(rows.tokens.shape) == (2, 8)
    actual = train(model, devices)
    assert_same(actual, alone)
    w_h = actual[0].parameters["layer.cells.0.w_h"]
    assert len(w_h.sharding.device_set) == 8
    assert w_h.sharding.is_fully_replicated


def test_on_from_eight_devices_to_parameters_divided_over_four(model, alone, tmp_path):
    actual = train(model, Devices.of(8), then=Devices.of(4, model_parallel=2, divide="both"), folder=tmp_path)
    assert_same(actual, alone)
    w_h = actual[0].parameters["layer.cells.0.w_h"]
    assert len(w_h.sharding.device_set) == 4
    assert w_h.sharding.shard_shape(w_h.shape) == (8, 3, 4)


def test_unlabelled_batches_on_several_devices(model):
    """One step of gradient descent, whose 12 and 12 rows are divided over 8 devices, is that of one."""
    sgd = make_optimizer(rule="sgd", learning_rate=1.0, num_steps=1).transformation
    perturbations = Perturbations(adversarial=0.5, virtual_adversarial=0.5)
    after = []
    for devices in (Devices.of(1), Devices.of(8), Devices.of(8, model_parallel=2, divide="both")):
        batches = WithUnlabelled(batches_for(devices), batches_for(devices))
        step = make_train_step(model, sgd, 1, devices=devices, perturbations=perturbations)
        state, _ = step(
            devices.put(TrainState.initial(devices.put(model.parameters), sgd)), next(batches.epoch(0, start=2))
        )
        after.append(state.parameters)
    for name, value in model.parameters.items():
        moved = after[0][name] - value
        for parameters in after[1:]:
            tolerance = 1e-4 * np.abs(moved).max()  # the direction follows small differences of the predictions
            np.testing.assert_allclose(parameters[name] - value, moved, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("divide", ["embedding", "hidden", "both"])
def test_what_is_divided(model, divide):
    """Also of what the optimiser remembers: it lies where its parameter does."""
    adam = make_optimizer(rule="adam", learning_rate=0.01, num_steps=1, average_epochs=2).transformation
    state = Devices.of(8, model_parallel=4, divide=divide).put(TrainState.initial(model.parameters, adam))
    (moments, _), before = state.optimizer
    after = epoch_ended(before, state.parameters)
    for name, value in after.parameters.items():
        assert value.sharding.is_equivalent_to(before.parameters[name].sharding, value.ndim)
        np.testing.assert_array_equal(value, np.stack([model.parameters[name], np.zeros_like(value[1])]))
    for tree in (state.parameters, moments.mu, evaluated_parameters(after, state.parameters)):
        embedding, w_h, kernel = (tree[name] for name in ("embedding.embedding", "layer.cells.0.w_h", "head.kernel"))
        assert embedding.sharding.shard_shape(embedding.shape) == (30, 8 if divide == "hidden" else 2)
        assert w_h.sharding.shard_shape(w_h.shape) == (8, 3, 8 if divide == "embedding" else 2)
        assert kernel.sharding.is_fully_replicated


def test_each_host_builds_its_own_rows():
    """Two hosts' rows, one after the other, are the batch of one, and know the same indices."""
    whole = list(batches_for(Devices.of(1)).epoch(3))
    rng = np.random.default_rng(0)
    token_ids = [rng.integers(2, 30, n).astype(np.int32) for n in rng.integers(0, 9, 40)]
    labels = rng.integers(0, 3, 40)
    halves = [
        list(BucketedBatches(token_ids, labels, boundaries=(8,), batch_size=BATCH, seed=0, rows=rows).epoch(3))
        for rows in (range(8), range(8, 16))
    ]
    for one, two, all_rows in zip(*halves, whole, strict=True):
        for name in ("tokens", "lengths", "labels", "weights"):
            joined = np.concatenate([getattr(one, name), getattr(two, name)])
            np.testing.assert_array_equal(joined[:BATCH], getattr(all_rows, name))
        assert not joined[BATCH:].any()  # of the weights
        np.testing.assert_array_equal(one.indices, all_rows.indices)
        np.testing.assert_array_equal(two.indices, all_rows.indices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"per_process": 9}, "per_process: expected at most the 8 there are, got 9"),
        ({"model_parallel": 3}, "model_parallel: expected a divisor of the 8 devices used, got 3"),
    ],
)
def test_devices_that_are_not_there(arguments, message):
    with pytest.raises(ValueError, match=message):
        Devices.of(**arguments)
