"""The optimiser's numbers, against optax's parts or NumPy written out."""

import jax
import numpy as np
import optax
import pytest

from jaxrnn.training import Kind, make_optimizer
from jaxrnn.training.optimizer import epoch_ended, evaluated_parameters, learning_rate_scale

PARAMETERS = {
    "embedding.embedding": np.array([[1.0, -2.0]], np.float32),
    "layer.cells.0.w_x": np.array([0.5, -1.0], np.float32),
    "layer.cells.0.b": np.array([3.0], np.float32),
    "head.kernel": np.array([2.0], np.float32),
    "head.bias": np.array([-1.0], np.float32),
}
KINDS = {
    "embedding.embedding": Kind(is_embedding=True),
    "layer.cells.0.w_x": Kind(is_matrix=True, hidden_axis=True),
    "layer.cells.0.b": Kind(hidden_axis=True),
    "head.kernel": Kind(is_matrix=True),
    "head.bias": Kind(),
}
RATE = 0.1


def gradients(count, seed=0):
    rng = np.random.default_rng(seed)
    return [{name: rng.normal(size=p.shape).astype(np.float32) for name, p in PARAMETERS.items()} for _ in range(count)]


def run(optimizer, steps, *, validations=()):
    """Parameters after each step, and the last state; `validations` are losses by the step they follow."""
    transformation = optimizer.transformation
    update = jax.jit(transformation.update)
    parameters, state, seen = PARAMETERS, transformation.init(PARAMETERS), []
    for number, gradient in enumerate(steps, 1):
        updates, state = update(gradient, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        seen.append(parameters)
        for at, loss in validations:
            if at == number:
                state = optimizer.validated(state, loss)
    return seen, state


def make(rule="sgd", *, num_steps=6, **options):
    return make_optimizer(rule=rule, learning_rate=RATE, num_steps=num_steps, **{"kinds": KINDS} | options)


def assert_close(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=2e-6, atol=1e-6, err_msg=name)


def by_optax(transformation, steps):
    return run(make()._replace(transformation=transformation), steps)[0]


def test_the_default_is_adam_alone():
    """Not to rounding: earlier runs and their checkpoints must go on."""
    optimizer = make("adam").transformation
    assert jax.tree.structure(optimizer.init(PARAMETERS)) == jax.tree.structure(optax.adam(RATE).init(PARAMETERS))
    for ours, theirs in zip(run(make("adam"), gradients(6))[0], by_optax(optax.adam(RATE), gradients(6)), strict=True):
        assert all(np.array_equal(ours[name], theirs[name]) for name in PARAMETERS)


@pytest.mark.parametrize("rule", ["adamw", "lion", "sgd"])
@pytest.mark.parametrize("with_embedding", [False, True])
def test_the_matrices_of_products_decay_and_nothing_else_does(rule, with_embedding):
    decayed = {"layer.cells.0.w_x", "head.kernel"} | ({"embedding.embedding"} if with_embedding else set())
    optimizer = make(rule, weight_decay=0.5, decay_embedding=with_embedding)
    expected = {name: (1 - RATE * 0.5 * (name in decayed)) * p for name, p in PARAMETERS.items()}
    assert_close(run(optimizer, [jax.tree.map(np.zeros_like, PARAMETERS)])[0][0], expected)


def test_a_name_alone_makes_nothing_decay():
    """The weights of a new module may be called as those of others are."""
    optimizer = make("adamw", weight_decay=0.5, kinds={name: Kind() for name in PARAMETERS})
    assert_close(run(optimizer, [jax.tree.map(np.zeros_like, PARAMETERS)])[0][0], PARAMETERS)


def test_adamw_written_out():
    m = v = 0.0
    weight, name = PARAMETERS["head.kernel"].astype(np.float64), "head.kernel"
    for t, gradient in enumerate(gradients(6), 1):
        g = gradient[name].astype(np.float64)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        weight = weight - RATE * (m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + 0.2 * weight)
    found = run(make("adamw", weight_decay=0.2), gradients(6))[0][-1][name]
    np.testing.assert_allclose(found, weight, rtol=1e-5)


def test_sgd_with_momentum_and_lion_written_out():
    name = "layer.cells.0.b"
    sgd = lion = PARAMETERS[name].astype(np.float64)
    trace = m = 0.0
    for gradient in gradients(6):
        g = gradient[name].astype(np.float64)
        trace = g + 0.8 * trace
        sgd = sgd - RATE * trace
        lion = lion - RATE * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    np.testing.assert_allclose(run(make("sgd", momentum=0.8), gradients(6))[0][-1][name], sgd, rtol=1e-5)
    np.testing.assert_allclose(run(make("lion"), gradients(6))[0][-1][name], lion, rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0, [1, 1, 1, 1, 1, 1]),
        ("constant", 3, [1 / 4, 2 / 4, 3 / 4, 1, 1, 1]),
        ("linear", 0, [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("linear", 2, [1 / 3, 2 / 3, 4 / 4, 3 / 4, 2 / 4, 1 / 4]),
        ("cosine", 0, [(1 + np.cos(np.pi * k / 6)) / 2 for k in range(6)]),
        ("cosine", 2, [1 / 3, 2 / 3, *((1 + np.cos(np.pi * k / 4)) / 2 for k in range(4))]),
    ],
)
def test_schedules(schedule, warmup, expected):
    ones = [jax.tree.map(np.ones_like, PARAMETERS)] * 6
    seen, _ = run(make(schedule=schedule, warmup_steps=warmup), ones)
    values = [float(each["head.bias"][0]) for each in seen]
    np.testing.assert_allclose(-np.diff([-1.0, *values]) / RATE, expected, rtol=1e-5)


@pytest.mark.parametrize("max_grad_norm", [None, 0.5])
def test_accumulation_is_one_update_by_the_mean_clipped_and_scheduled(max_grad_norm):
    steps = gradients(7)  # the last one begins an update that never comes
    accumulated = make(accumulate_steps=3, max_grad_norm=max_grad_norm, schedule="linear", num_steps=7)
    seen, _ = run(accumulated, steps)
    means = [jax.tree.map(lambda *g: np.mean(g, axis=0), *steps[k : k + 3]) for k in (0, 3)]
    once, _ = run(make(max_grad_norm=max_grad_norm, schedule="linear", num_steps=2), means)
    for number, expected in enumerate([PARAMETERS, PARAMETERS, once[0], once[0], once[0], once[1], once[1]]):
        assert_close(seen[number], expected)
    assert optax.tree.norm(means[0]) > 0.5  # there was something to clip


def test_the_average_of_the_weights():
    decay = 0.7
    seen, state = run(make("adam", ema_decay=decay), gradients(5))
    shares = decay ** np.arange(4, -1, -1.0)
    shares /= shares.sum()
    expected = {name: sum(s * p[name] for s, p in zip(shares, seen, strict=True)) for name in PARAMETERS}
    assert_close(evaluated_parameters(state, seen[-1]), expected)
    # With accumulation an average a step would count some weights twice.
    steps = [gradient for gradient in gradients(5) for _ in range(2)]
    twice, state = run(make("adam", ema_decay=decay, accumulate_steps=2, num_steps=10), steps)
    assert_close(twice[-1], seen[-1])
    assert_close(evaluated_parameters(state, twice[-1]), expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_mean_of_the_weights_after_the_last_epochs(accumulate):
    optimizer = make("adam", average_epochs=3, accumulate_steps=accumulate, num_steps=10).transformation
    parameters, state, ends = PARAMETERS, optimizer.init(PARAMETERS), []
    for number, gradient in enumerate(gradients(10), 1):
        updates, state = optimizer.update(gradient, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        if number % 2 == 0:
            ends.append(jax.tree.map(np.array, parameters))
            state = epoch_ended(state, parameters)
            expected = {name: np.mean([each[name] for each in ends[-3:]], axis=0) for name in PARAMETERS}
            assert_close(evaluated_parameters(state, parameters), expected)
    # The updates are those of a run without it.
    assert_close(parameters, run(make("adam", accumulate_steps=accumulate, num_steps=10), gradients(10))[0][-1])


def test_without_an_average_the_weights_are_evaluated():
    _, state = run(make("adam"), gradients(1))
    assert evaluated_parameters(state, PARAMETERS) is PARAMETERS


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_plateau_of_validations_cuts_the_rate(accumulate):
    ones = [jax.tree.map(np.ones_like, PARAMETERS)] * (6 * accumulate)
    optimizer = make(
        schedule="plateau",
        plateau_patience=2,
        plateau_factor=0.5,
        accumulate_steps=accumulate,
        num_steps=6 * accumulate,
    )
    losses = [1.0, 0.5, 0.5, 0.6, 0.4, 0.4]  # two in a row without progress after the fourth
    seen, state = run(optimizer, ones, validations=[(accumulate * k, loss) for k, loss in enumerate(losses, 1)])
    values = [float(each["head.bias"][0]) for each in seen[accumulate - 1 :: accumulate]]
    np.testing.assert_allclose(-np.diff([-1.0, *values]) / RATE, [1, 1, 1, 1, 0.5, 0.5], rtol=1e-5)
    assert learning_rate_scale(state) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "adam", "weight_decay": 0.1}, "weight_decay: .*adamw.* 0.1"),
        ({"rule": "adamw", "weight_decay": 0.1, "kinds": None}, "kinds: .*weight decay"),
        ({"warmup_steps": 6}, "warmup_steps: .* 6 updates, got 6"),
        ({"ema_decay": 0.9, "average_epochs": 3}, "average_epochs: .*ema_decay, got 3"),
        ({"accumulate_steps": 7}, "accumulate_steps: .* 6 steps, got 7"),
    ],
)
def test_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
