"""Integrated gradients against integrals that are known."""

import numpy as np
import pytest

from jaxrnn.analysis import integrated_gradients


def along(function, gradient, x):
    """The line from zero to x: F, and each input's part in its slope."""

    def slopes(points):
        line = points[:, None].astype(np.float64) * x
        return function(line), gradient(line) * x

    return slopes


def test_equals_the_integral_of_a_product():
    """Of x·y from zero each has half; of z³ all is z's."""
    x = np.array([2.0, -3.0, 1.5])
    found = integrated_gradients(
        along(
            lambda p: p[:, 0] * p[:, 1] + p[:, 2] ** 3,
            lambda p: np.stack([p[:, 1], p[:, 0], 3 * p[:, 2] ** 2], 1),
            x,
        ),
        tolerance=1e-4,
    )
    np.testing.assert_allclose(found.values, [-3, -3, 3.375], rtol=1e-3)
    assert (found.output, found.baseline_output, found.jumps) == (pytest.approx(-2.625), 0, 0)


def test_a_steep_place_is_found_by_halving():
    """A step of a thousandth's width that a grid of 16 points misses."""
    x = np.array([1.0, 3.0])

    def at(p):
        return 500 * (p[:, 0] + p[:, 1] - 2.1)

    found = integrated_gradients(
        along(lambda p: np.tanh(at(p)), lambda p: 500 * (1 - np.tanh(at(p))[:, None] ** 2) * np.ones(2), x)
    )
    np.testing.assert_allclose(found.values, [0.5, 1.5], rtol=0.02)
    assert found.jumps == 0
    assert found.values.sum() == pytest.approx(2, rel=0.01)


def test_a_jump_is_shared_out_and_said():
    """F = a + 2·[a > 0.3]: no gradient tells of the jump, and the sum is complete all the same."""
    x = np.array([1.0, 0.0])
    found = integrated_gradients(along(lambda p: p[:, 0] + 2 * (p[:, 0] > 0.3), lambda p: np.ones_like(p), x))
    assert found.values.sum() == pytest.approx(3, rel=0.01)
    assert found.jumps == pytest.approx(2 / 3, rel=0.01)
    np.testing.assert_allclose(found.values, [3, 0], rtol=0.01)
