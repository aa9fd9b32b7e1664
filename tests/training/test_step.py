"""One step of training and one of evaluation, against the same written out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from small_network import METRICS, measure, small_batches, small_examples, small_model, small_task

from jaxrnn.data import Padded
from jaxrnn.training import Devices, Evaluation, Measured, Task, TrainState, make_evaluate, make_train_step

EXAMPLES = small_examples(5)
LABELS = EXAMPLES.columns["label"]


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def batch():
    """Two examples and a row of filler, which must count for nothing."""
    batch = next(batch for batch in small_batches(EXAMPLES, batch_size=3).in_order() if -1 in batch.indices)
    assert batch.indices.tolist()[2] == -1
    return batch


def begin(model, optimizer, carry=()):
    parameters = jax.tree.map(jnp.array, model.parameters)  # a step donates what it is given
    return TrainState.initial(parameters, optimizer, carry).put(model, Devices.of(1))


def one_by_one(model):
    """Each example's outputs, without company or padding."""
    network = model.merge(jax.tree.map(jnp.array, model.parameters), model.rest)
    network.eval()
    for example in (EXAMPLES[i] for i in range(len(EXAMPLES))):
        length = len(example["words"])
        values = example["words"] if length else np.ones(1, np.int32)
        words, row, _ = network(Padded(values[None], np.array([length])))
        yield {"row": row[0], "words": words[0, :length]}


def assert_close(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), actual, expected)


def test_evaluation_is_that_of_each_example_alone_in_the_data_s_order(model):
    evaluate = make_evaluate(model, task=small_task())
    sums, outputs = evaluate(model.parameters, small_batches(EXAMPLES, batch_size=3).in_order(), EXAMPLES)
    expected = list(one_by_one(model))
    assert_close(outputs, expected)  # also their shapes: what was padded has its own length again
    logits = np.stack([each["row"] for each in expected]).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(sums["loss"], -log_p[np.arange(5), LABELS].sum(), rtol=1e-5)
    assert sums["correct"] == (logits.argmax(1) == LABELS).sum()
    assert sums["count"] == 5
    np.testing.assert_array_equal(sums["by_class"], np.bincount(LABELS, minlength=3))


def test_scores_of_examples_are_added_to_the_sums(model):
    """Each is given the example and its own output, without padding; filler has none."""
    seen = []

    def score(example, output):
        seen.append(example["words"].tolist())
        assert len(output["words"]) == len(example["words"])
        return {"num_words": len(example["words"]), "logit": float(output["row"][0])}

    evaluate = make_evaluate(model, task=small_task(score=score))
    batches = small_batches(EXAMPLES, batch_size=3)
    sums, outputs = evaluate(model.parameters, batches.in_order(), EXAMPLES)
    assert sorted(seen) == sorted(EXAMPLES[i]["words"].tolist() for i in range(5))
    assert sums["num_words"] == EXAMPLES.lengths.sum()
    assert sums["logit"] == pytest.approx(sum(float(each["row"][0]) for each in outputs))
    assert evaluate(model.parameters, batches.in_order()) == Evaluation(
        {name: pytest.approx(sums[name]) for name in ("loss", "correct", "count", "by_class")}, []
    )  # without the examples


def test_a_step_follows_the_gradient_of_the_mean_loss(model, batch):
    step = make_train_step(model, optax.sgd(0.1), 3, task=small_task())
    state, sums, is_finite = step(begin(model, optax.sgd(0.1)), batch)

    def loss(parameters):
        key = jax.random.fold_in(jax.random.key(3), 0)
        network = model.merge(parameters, model.rest)
        network.train()
        _, logits, _ = network(batch.arrays["words"], rngs=nnx.Rngs(dropout=key))
        return measure(logits, batch.arrays["label"], batch.weights)["loss"] / 2

    value, gradients = jax.value_and_grad(loss)(model.parameters)
    np.testing.assert_allclose(sums["loss"] / 2, value, rtol=1e-6)
    assert (int(sums["count"]), int(state.step), bool(is_finite)) == (2, 1, True)
    for name, gradient in gradients.items():
        expected = model.parameters[name] - 0.1 * gradient
        np.testing.assert_allclose(state.parameters[name], expected, rtol=1e-5, atol=1e-7)
        assert np.abs(gradient).max() > 0, name


def test_what_filler_holds_changes_nothing(model, batch):
    """Not even numbers that are none."""

    def with_nan(network, arrays, weights, carry, rngs):
        _, logits, _ = network(arrays["words"], rngs=rngs)
        logits = jnp.where(weights[:, None] > 0, logits, jnp.nan)
        sums = measure(logits, arrays["label"], weights)
        return Measured(sums["loss"], sums)

    plain = small_task()
    states = [
        make_train_step(model, optax.sgd(0.1), 3, task=task)(begin(model, optax.sgd(0.1)), batch).state
        for task in (plain, plain._replace(train=with_nan))
    ]
    assert_close(states[1].parameters, states[0].parameters)


def test_dropout_follows_seed_and_step_alone(model, batch):
    def losses(seed, steps):
        step = make_train_step(model, optax.sgd(0.0), seed, task=small_task())
        state = begin(model, optax.sgd(0.0))
        found = []
        for _ in range(steps):
            state, sums, _ = step(state, batch)
            found.append(float(sums["loss"]))
        return found

    assert losses(1, 3) == losses(1, 3)
    assert len({*losses(1, 3), *losses(2, 3)}) == 6


def test_a_step_that_is_not_finite_changes_the_number_of_the_step_alone(model, batch):
    poisoned = model._replace(parameters=model.parameters | {"head.bias": np.array([np.nan, 0, 0], np.float32)})
    adam = optax.adam(0.1)
    before = begin(poisoned, adam, carry=jnp.ones((3, 8)))
    expected = jax.tree.map(np.array, before)
    state, sums, is_finite = make_train_step(poisoned, adam, 3, task=small_task(with_carry=True))(before, batch)
    assert not is_finite
    assert not any(np.any(value) for value in sums.values())  # they are not part of what is reported
    assert jax.tree.all(
        jax.tree.map(lambda a, b: np.array_equal(a, b, equal_nan=True), state, expected._replace(step=1))
    )


def test_the_carry_goes_from_step_to_step(model, batch):
    task = small_task(with_carry=True)
    step = make_train_step(model, optax.sgd(0.0), 3, task=task)
    network = model.merge(jax.tree.map(jnp.array, model.parameters), model.rest)
    network.train()
    carry = task.initial_carry(network, 3)
    state = begin(model, optax.sgd(0.0), carry=jnp.array(carry))
    for number in range(3):
        state = step(state, batch).state
        key = jax.random.fold_in(jax.random.key(3), number)
        _, _, carry = network(batch.arrays["words"], before=carry, rngs=nnx.Rngs(dropout=key))
        np.testing.assert_allclose(state.carry, carry, rtol=1e-5, atol=1e-6)
        assert np.abs(carry).max() > 0


def test_each_shape_is_compiled_once(model):
    traced = []
    task = small_task()

    def count(*arguments):
        traced.append(1)
        return task.train(*arguments)

    step = make_train_step(model, optax.sgd(0.1), 3, task=task._replace(train=count))
    state = begin(model, optax.sgd(0.1))
    for number in range(2):
        for batch in small_batches().epoch(number):
            state = step(state, batch).state
    assert len(traced) == 1


def test_bfloat16_is_for_products_alone(model, batch):
    """Weights, gradients and losses stay float32, and are near those of float32 products."""
    after, sums = [], []
    for each in (model, small_model(dtype=jnp.bfloat16)):
        step = make_train_step(each, optax.sgd(1.0), 3, task=small_task())
        result = step(begin(each, optax.sgd(1.0)), batch)
        after.append(result.state.parameters)
        sums.append(result.sums)
    assert sums[1]["loss"].dtype == np.float32
    np.testing.assert_allclose(sums[1]["loss"], sums[0]["loss"], rtol=1e-2)
    largest = max(np.abs(after[0][name] - value).max() for name, value in model.parameters.items())
    for name, value in after[1].items():
        assert value.dtype == np.float32, name
        np.testing.assert_allclose(value, after[0][name], rtol=0, atol=2e-2 * largest, err_msg=name)
    assert any(not np.array_equal(after[1][name], after[0][name]) for name in after[0])


def test_a_task_needs_no_outputs(model, batch):
    task = Task(small_task().train, lambda network, arrays, weights: ({"loss": 0.0, "count": 1}, ()), METRICS)
    evaluation = make_evaluate(model, task=task)(model.parameters, [batch])
    assert evaluation.sums == {"loss": 0.0, "count": 1}
