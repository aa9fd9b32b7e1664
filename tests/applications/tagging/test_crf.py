"""The conditional random field against the enumeration of all sequences of tags, in float64."""

from itertools import product
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.applications.tagging import crf
from jaxrnn.applications.tagging.schemes import legal_transitions

NUM_TAGS, NUM_STEPS = 3, 5
LENGTHS = np.array([5, 3, 1, 0, 4])
PADDING = np.arange(NUM_STEPS) >= LENGTHS[:, None]
PATHS = np.array(list(product(range(NUM_TAGS), repeat=NUM_STEPS)))  # [243, 5]
IS_SEQUENCE = np.array([~PATHS[:, length:].any(1) for length in LENGTHS])  # [rows, 243]: each sequence once


def score_paths(emissions, length, transitions):
    """The score of the beginning of that length of each of PATHS, as the equation is written."""
    total = jnp.zeros(len(PATHS))
    for t in range(length):
        total += emissions[t, PATHS[:, t]]
        total += transitions.first[PATHS[:, t]] if t == 0 else transitions.between[PATHS[:, t - 1], PATHS[:, t]]
    return total + transitions.last[PATHS[:, length - 1]] if length else total


@jax.jit
def enumerate_all(emissions, tags, transitions):
    """Score and log Z of the rows, their best sequences, and the gradient of the summed log-likelihood."""

    def likelihood(emissions, transitions):
        paths = [score_paths(emissions[row], length, transitions) for row, length in enumerate(LENGTHS)]
        of_paths = jnp.where(IS_SEQUENCE, jnp.stack(paths), -jnp.inf)
        same = (jnp.where(PADDING, 0, tags)[:, None] == PATHS).all(-1)
        scores, partitions = jnp.where(same, of_paths, 0).sum(1), jax.nn.logsumexp(of_paths, axis=1)
        return (scores - partitions).sum(), (
            scores,
            partitions,
            jnp.asarray(PATHS)[of_paths.argmax(1)],
            of_paths.max(1),
        )

    (_, found), gradient = jax.value_and_grad(likelihood, argnums=(0, 1), has_aux=True)(emissions, transitions)
    return *found, gradient


@jax.jit
def compute_all(emissions, tags, transitions):
    def likelihood(emissions, transitions):
        return crf.log_likelihood(emissions, tags, LENGTHS, transitions).sum()

    return (
        crf.score(emissions, tags, LENGTHS, transitions),
        crf.log_partition(emissions, LENGTHS, transitions),
        *crf.viterbi(emissions, LENGTHS, transitions),
        jax.grad(likelihood, argnums=(0, 1))(emissions, transitions),
    )


@pytest.fixture(scope="module", params=range(3))
def problem(request):
    rng = np.random.default_rng(request.param)
    shapes = (NUM_TAGS, NUM_TAGS), (NUM_TAGS,), (NUM_TAGS,)
    with jax.enable_x64(True):
        yield SimpleNamespace(
            emissions=rng.normal(0, 2, (len(LENGTHS), NUM_STEPS, NUM_TAGS)),
            tags=rng.integers(0, NUM_TAGS, (len(LENGTHS), NUM_STEPS)),
            transitions=crf.Transitions(*(rng.normal(0, 2, shape) for shape in shapes)),
        )


def test_everything_equals_the_enumeration(problem):
    arguments = problem.emissions, problem.tags, problem.transitions
    found, expected = compute_all(*arguments), enumerate_all(*arguments)
    assert found[0].dtype == np.float64
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), found, expected)
    np.testing.assert_array_equal(found[2], expected[2])


def test_padding_changes_nothing_even_if_nan(problem):
    wide = ((0, 0), (0, 3))
    padding = np.pad(PADDING, wide, constant_values=True)
    emissions = np.where(padding[..., None], np.nan, np.pad(problem.emissions, (*wide, (0, 0))))
    tags = np.where(padding, 99, np.pad(problem.tags, wide))
    *expected, (gradient, of_transitions) = compute_all(problem.emissions, problem.tags, problem.transitions)
    *found, (wide_gradient, of_wide_transitions) = compute_all(emissions, tags, problem.transitions)
    assert not np.asarray(found[2])[padding].any()
    assert not np.asarray(wide_gradient)[padding].any()
    found[2], wide_gradient = found[2][:, :NUM_STEPS], wide_gradient[:, :NUM_STEPS]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12),
        (found, wide_gradient, of_wide_transitions),
        (expected, gradient, of_transitions),
    )


def test_decoded_tags_are_legal(rng):
    tags = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in "XY")]
    legal = legal_transitions(tags, "BIOES")
    masked = crf.Transitions(*(np.where(allowed, 0.0, -np.inf).astype(np.float32) for allowed in legal))
    emissions = rng.normal(0, 3, (200, 7, len(tags))).astype(np.float32)
    lengths = rng.integers(1, 8, 200)
    decoded, scores = map(np.asarray, jax.jit(crf.viterbi)(emissions, lengths, masked))
    assert np.isfinite(scores).all()
    num_changed = 0
    for row, length in enumerate(lengths):
        path = decoded[row, :length]
        assert legal.first[path[0]]
        assert legal.last[path[-1]]
        assert legal.transitions[path[:-1], path[1:]].all()
        np.testing.assert_allclose(emissions[row, np.arange(length), path].sum(), scores[row], rtol=1e-5, atol=1e-5)
        num_changed += (path != emissions[row, :length].argmax(-1)).any()
    assert num_changed > 100  # the constraint had something to do


def test_a_batch_without_steps_has_empty_sequences(problem):
    emissions, tags, lengths = np.zeros((2, 0, NUM_TAGS)), np.zeros((2, 0), int), np.zeros(2, int)
    np.testing.assert_array_equal(crf.log_likelihood(emissions, tags, lengths, problem.transitions), [0, 0])
    decoded, scores = crf.viterbi(emissions, lengths, problem.transitions)
    assert decoded.shape == (2, 0)
    np.testing.assert_array_equal(scores, [0, 0])
