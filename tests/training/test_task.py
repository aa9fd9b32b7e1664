"""Sums that add up, and the metrics that follow from them."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.training import Metric, Task, add, mean
from jaxrnn.training.checkpoint import Position


def test_sums_add_up_in_wide_numbers():
    many = {"count": np.int32(2**31 - 1), "loss": np.float32(16_777_216.0), "by_type": jnp.array([[1, 2], [3, 4]])}
    one = {"count": np.int32(1), "loss": jnp.float32(1.0), "by_type": np.array([[1, 0], [0, 1]], np.int32)}
    sums = add(add({}, many), one)
    assert sums["count"] == 2**31
    assert sums["loss"] == 16_777_217.0  # which float32 cannot hold
    assert (type(sums["count"]), type(sums["loss"])) == (int, float)
    assert sums["by_type"].tolist() == [[2, 2], [3, 5]]
    assert sums["by_type"].dtype == np.int64


def test_a_sum_that_only_one_of_them_has_is_kept():
    assert add({"a": 1}, {"b": np.float32(2)}) == {"a": 1, "b": 2.0}
    sums = {"a": 1}
    add(sums, {"a": np.int32(3)})
    assert sums == {"a": 1}  # they are never changed in place


def test_sums_survive_the_json_of_a_checkpoint_bit_for_bit():
    rng = np.random.default_rng(0)
    totals = add(
        {},
        {
            "loss": np.float64(1 / 3),
            "count": 2**40,
            "counts": rng.integers(0, 2**40, (3, 2)),
            "squares": rng.normal(size=4) * 1e-300,
            "huge": np.array([1e308, np.inf, 5e-324, -0.0]),
            "whole": np.array([1.0, 2.0]),
        },
    )
    position = Position(2, 7, totals, {"loss": 0.1}, 0.6931471805599453, 40, 12.5, 3, 1)
    again = Position.from_json(json.loads(json.dumps(position.to_json())))
    assert again._replace(totals={}) == position._replace(totals={})
    assert again.totals.keys() == totals.keys()
    for name, value in totals.items():
        assert type(again.totals[name]) is type(value), name
        if isinstance(value, np.ndarray):
            assert again.totals[name].dtype == value.dtype, name
            assert again.totals[name].tobytes() == value.tobytes(), name
        else:
            assert again.totals[name] == value, name


METRICS = {
    "loss": Metric(mean("loss"), unit="nats"),
    "accuracy": Metric(mean("correct"), unit="%", digits=2, higher_is_better=True),
    "span_f1": Metric(lambda sums: 2 * sums["right"] / sums["spans"] if sums.get("spans") else math.nan, unit="%"),
}
TASK = Task(train=None, evaluate=None, metrics=METRICS)


def test_a_metric_that_nothing_was_counted_for_is_left_out():
    sums = {"loss": 3.0, "correct": 3, "count": 4}
    assert TASK.measure(sums) == {"loss": 0.75, "accuracy": 0.75}
    assert TASK.measure(sums | {"right": 1, "spans": 8})["span_f1"] == 0.25
    assert TASK.measure({}) == {}
    assert TASK.measure({"loss": 0.0, "correct": 0, "count": 0}) == {}
    assert TASK.describe({}) == ""


def test_shares_are_shown_as_percentages():
    assert TASK.describe({"loss": 3.0, "correct": 1, "count": 4}) == "loss 0.7500, accuracy 25.00 %"
    assert Metric(mean("loss"), digits=1).show(12_345.678) == "12,345.7"
    assert (METRICS["accuracy"].scale, METRICS["loss"].scale) == (100, 1)


def test_a_mean_of_other_counts():
    assert mean("errors", of="words")({"errors": 1, "words": 4, "count": 2}) == 0.25
    assert mean("errors", of="words")({"words": 4}) == 0
    assert math.isnan(mean("errors", of="words")({"errors": 1, "count": 2}))


@pytest.mark.parametrize("value", [1, 1.5, np.float32(2), np.array([1, 2])])
def test_adding_nothing_changes_nothing(value):
    np.testing.assert_array_equal(add({"a": value}, {})["a"], value)
