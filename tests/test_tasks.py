import jax.numpy as jnp
import numpy as np

from jaxrnn.tasks import class_probabilities, classification_loss, predicted_class


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
