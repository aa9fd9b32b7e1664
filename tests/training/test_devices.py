"""Several devices compute what one does: order, dropout, losses, parameters, carry."""

from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_network import small_batches, small_examples, small_model, small_task

from jaxrnn.training import (
    Checkpoints,
    Devices,
    Position,
    TrainState,
    make_evaluate,
    make_optimizer,
    make_train_step,
)
from jaxrnn.training.optimizer import epoch_ended, evaluated_parameters

BATCH = 12
EXAMPLES = small_examples()
TASK = small_task(with_carry=True)


@pytest.fixture(scope="module")
def model():
    return small_model()


def batches_for(devices):
    return small_batches(batch_size=BATCH, rows=devices.rows(BATCH))


def begin(model, optimizer, devices):
    network = model.merge(jax.tree.map(jnp.array, model.parameters), model.rest)
    parameters = jax.tree.map(jnp.array, model.parameters)
    return TrainState.initial(parameters, optimizer, TASK.initial_carry(network, BATCH)).put(model, devices)


def train(model, devices, *, then=None, folder=None):
    """An epoch, with all that an optimiser may remember: the state, the losses, and the evaluation after it.

    With `then`, its second half is on those devices, after a save and a restore in `folder`.
    """
    optimizer = make_optimizer(
        rule="adamw", learning_rate=0.01, num_steps=8, weight_decay=0.1, ema_decay=0.5, kinds=model.kinds
    ).transformation

    def steps(devices, state, start, stop):
        step = make_train_step(model, optimizer, 1, task=TASK, devices=devices)
        losses = []
        for batch in islice(batches_for(devices).epoch(0, start=start), stop - start):
            state, sums, _ = step(state, batch)
            losses.append(float(sums["loss"]))
        return state, losses

    if then is None:
        state, losses = steps(devices, begin(model, optimizer, devices), 0, 4)
    else:
        state, losses = steps(devices, begin(model, optimizer, devices), 0, 2)
        checkpoints = Checkpoints(folder)
        checkpoints.save_latest(state, Position())
        checkpoints.close()
        devices = then
        restored, _ = Checkpoints(folder).restore_latest(begin(model, optimizer, devices))
        state, more = steps(devices, restored, 2, 4)
        losses += more
    evaluate = make_evaluate(model, task=TASK, devices=devices)
    return state, losses, evaluate(state.parameters, batches_for(devices).in_order(), EXAMPLES)


@pytest.fixture(scope="module")
def alone(model):
    return train(model, Devices.of(1))


def assert_same(actual, expected):
    (state, losses, evaluation), (state_1, losses_1, evaluation_1) = actual, expected
    np.testing.assert_allclose(losses, losses_1, rtol=1e-5)
    for found, other in zip(evaluation.outputs, evaluation_1.outputs, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), found, other)
    assert evaluation.sums["loss"] == pytest.approx(evaluation_1.sums["loss"], rel=1e-5)
    for name in ("count", "correct", "by_class"):
        np.testing.assert_array_equal(evaluation.sums[name], evaluation_1.sums[name])
    others = dict(jax.tree.leaves_with_path(state_1))
    for path, leaf in jax.tree.leaves_with_path(state):
        np.testing.assert_allclose(leaf, others[path], rtol=0, atol=1e-5, err_msg=str(path))


def test_rows_on_several_devices(model, alone):
    """12 rows over 8 devices: the last ones fill up, and neither the mean nor dropout's masks know of them."""
    devices = Devices.of(8)
    arrays, weights = devices.put_batch(next(batches_for(devices).epoch(0)))
    assert arrays["words"].values.shape == (16, 8)
    for array in (*arrays["words"], arrays["label"], weights):
        assert array.sharding.shard_shape(array.shape)[0] == 2
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


def test_the_carry_is_divided_by_rows(model):
    """Before the first step and after each: no device gathers what only the rows on another need."""
    devices = Devices.of(4)
    optimizer = make_optimizer(rule="sgd", learning_rate=0.1, num_steps=8).transformation
    state = begin(model, optimizer, devices)
    step = make_train_step(model, optimizer, 1, task=TASK, devices=devices)
    for batch in islice(batches_for(devices).epoch(0), 2):
        assert state.carry.shape == (BATCH, 8)
        assert state.carry.sharding.shard_shape(state.carry.shape) == (BATCH // 4, 8)
        state = step(state, batch).state
    assert state.carry.sharding.shard_shape(state.carry.shape) == (BATCH // 4, 8)


def test_a_carry_that_cannot_be_divided_evenly_is_on_every_device():
    devices = Devices.of(8)
    state, scalar = devices.put_carry((jnp.ones((12, 3)), jnp.float32(1)))
    assert state.sharding.is_fully_replicated
    assert scalar.sharding.is_fully_replicated
    assert len(state.sharding.device_set) == 8


@pytest.mark.parametrize("divide", ["embedding", "hidden", "both"])
def test_what_is_divided(model, divide):
    """Also of what the optimiser remembers: it lies where its parameter does."""
    adam = make_optimizer(rule="adam", learning_rate=0.01, num_steps=1, average_epochs=2).transformation
    devices = Devices.of(8, model_parallel=4, divide=divide)
    state = TrainState.initial(model.parameters, adam).put(model, devices)
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


def test_an_axis_that_cannot_be_divided_is_named(model):
    with pytest.raises(ValueError, match=r"model_parallel: .* 7 features .* embedding.embedding, got 4"):
        Devices.of(8, model_parallel=4).put({"embedding.embedding": jnp.ones((5, 7))}, model.kinds)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"per_process": 9}, "per_process: .* 8 .* 9"), ({"model_parallel": 3}, "model_parallel: .* 8 .* 3")],
)
def test_devices_that_are_not_there(arguments, words):
    with pytest.raises(ValueError, match=words):
        Devices.of(**arguments)
