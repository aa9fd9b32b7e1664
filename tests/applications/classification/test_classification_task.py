"""Losses, probabilities and log-odds against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.applications.classification.explain import log_odds
from jaxrnn.applications.classification.task import class_probabilities, classification_loss, predicted_class


def test_two_classes_share_a_logit():
    logits = np.array([[-2.0], [0.0], [3.0]], np.float32)
    labels = np.array([0, 1, 0], np.int32)
    p = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    expected = -np.log([1 - p[0], p[1], 1 - p[2]])
    np.testing.assert_allclose(classification_loss(jnp.asarray(logits), jnp.asarray(labels)), expected, rtol=1e-6)
    np.testing.assert_array_equal(predicted_class(jnp.asarray(logits)), [0, 0, 1])
    np.testing.assert_allclose(class_probabilities(logits), np.stack([1 - p, p], 1), rtol=1e-6)


def test_several_classes_have_a_softmax():
    logits = np.array([[1.0, 2.0, 0.5], [4.0, -1.0, 0.0]], np.float32)
    labels = np.array([2, 0], np.int32)
    e = np.exp(logits.astype(np.float64))
    p = e / e.sum(1, keepdims=True)
    np.testing.assert_allclose(
        classification_loss(jnp.asarray(logits), jnp.asarray(labels)),
        -np.log(p[[0, 1], labels]),
        rtol=0,
        atol=4 * np.finfo(np.float32).eps,  # the loss is a difference of logits, the largest of which is 4
    )
    np.testing.assert_array_equal(predicted_class(jnp.asarray(logits)), [1, 0])
    np.testing.assert_allclose(class_probabilities(logits), p, rtol=1e-6)


def test_label_smoothing_spreads_over_all_classes():
    rng = np.random.default_rng(0)
    for num_classes in (2, 4):
        logits = rng.normal(size=(5, 1 if num_classes == 2 else num_classes)).astype(np.float32)
        labels = rng.integers(0, num_classes, 5).astype(np.int32)
        log_p = np.log(np.asarray(class_probabilities(logits), np.float64))
        targets = 0.8 * np.eye(num_classes)[labels] + 0.2 / num_classes
        found = classification_loss(jnp.asarray(logits), jnp.asarray(labels), label_smoothing=0.2)
        np.testing.assert_allclose(found, -(targets * log_p).sum(1), rtol=1e-5)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_log_odds_are_those_of_the_probability(num_classes):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 1 if num_classes == 2 else num_classes)).astype(np.float32)
    classes = rng.integers(0, num_classes, 5)
    p = class_probabilities(logits.astype(np.float64))[np.arange(5), classes]
    np.testing.assert_allclose(log_odds(jnp.asarray(logits), jnp.asarray(classes)), np.log(p / (1 - p)), rtol=1e-5)


def test_probabilities_of_extreme_logits_are_finite():
    np.testing.assert_array_equal(class_probabilities(np.array([[-1e4], [1e4]], np.float32)), [[1, 0], [0, 1]])
