import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.applications.language_modelling.sampling import restrict

LOGITS = np.log([[0.4, 0.1, 0.3, 0.2], [0.05, 0.05, 0.45, 0.45]])


def probabilities(**options):
    return np.asarray(jax.nn.softmax(restrict(jnp.asarray(LOGITS, jnp.float32), **options)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0.4, 0.1, 0.3, 0.2], [0.05, 0.05, 0.45, 0.45]]),
        ({"temperature": 0.5}, [np.square([4, 1, 3, 2]) / 30, np.square([1, 1, 9, 9]) / 164]),
        ({"temperature": 0}, [[1, 0, 0, 0], [0, 0, 1, 0]]),  # in a tie the lower number
        ({"top_k": 2}, [[4 / 7, 0, 3 / 7, 0], [0, 0, 0.5, 0.5]]),
        ({"top_k": 1}, [[1, 0, 0, 0], [0, 0, 0.5, 0.5]]),  # equally probable words stay
        ({"top_k": 99}, [[0.4, 0.1, 0.3, 0.2], [0.05, 0.05, 0.45, 0.45]]),
        ({"top_p": 0.65}, [[4 / 7, 0, 3 / 7, 0], [0, 0, 0.5, 0.5]]),
        ({"top_p": 0.75}, [[4 / 9, 0, 3 / 9, 2 / 9], [0, 0, 0.5, 0.5]]),
        ({"top_p": 1e-6}, [[1, 0, 0, 0], [0, 0, 0.5, 0.5]]),
        ({"top_p": 1.0}, [[0.4, 0.1, 0.3, 0.2], [0.05, 0.05, 0.45, 0.45]]),
        # The temperature first, then the words, then their probabilities: 16/25 and 9/25 of the two that are left.
        ({"temperature": 0.5, "top_k": 2, "top_p": 0.63}, [[1, 0, 0, 0], [0, 0, 0.5, 0.5]]),
        ({"temperature": 0.5, "top_k": 2, "top_p": 0.65}, [[16 / 25, 0, 9 / 25, 0], [0, 0, 0.5, 0.5]]),
    ],
)
def test_the_words_that_are_left_have_their_probabilities(options, expected):
    np.testing.assert_allclose(probabilities(**options), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        restrict(jnp.zeros(3), **options)
