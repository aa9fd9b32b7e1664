import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.applications.language_modelling import softmax
from jaxrnn.applications.language_modelling.config import LanguageModelConfig
from jaxrnn.applications.language_modelling.model import LanguageModel
from jaxrnn.training import split_model

END = 2


def make(cell="lstm", hidden=5, **options):
    config = LanguageModelConfig(
        **{"num_layers": 2, "dropout_rate": 0.0, "embedding": 4, "cell": cell, "hidden": hidden} | options
    )
    model = LanguageModel(config, vocabulary_size=9, end_id=END, rngs=nnx.Rngs(0))
    model.bias[...] = jax.random.normal(jax.random.key(1), (9,))
    model.eval()
    return model


def numpy_losses(x, table, bias, targets):
    logits = x.astype(np.float64) @ table.T.astype(np.float64) + bias
    log_z = np.log(np.exp(logits).sum(-1))
    return log_z - np.take_along_axis(logits, targets[..., None], -1)[..., 0]


@pytest.fixture
def problem(rng):
    x = rng.normal(size=(5, 3, 4)).astype(np.float32)
    table, bias = rng.normal(size=(9, 4)).astype(np.float32), rng.normal(size=9).astype(np.float32)
    return x, table, bias, rng.integers(0, 9, (5, 3))


@pytest.mark.parametrize("max_logits", [1, 54, 10**6])  # steps at a time: one, two of five, all
def test_cross_entropy_in_chunks_is_that_of_numpy(problem, monkeypatch, max_logits):
    monkeypatch.setattr(softmax, "MAX_LOGITS", max_logits)
    x, table, bias, targets = problem
    weights = np.arange(15.0).reshape(5, 3).astype(np.float32)

    def loss(x, table, bias):
        losses = softmax.cross_entropy(x, table, bias, targets)
        return (losses * weights).sum(), losses

    (_, losses), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(x, table, bias)
    np.testing.assert_allclose(losses, numpy_losses(*problem), rtol=1e-5)
    logits = x @ table.T + bias
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    error = (p - np.eye(9)[targets]) * weights[..., None]
    expected = (error @ table, np.einsum("tbv,tbd->vd", error, x), error.sum((0, 1)))
    for found, value in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-4)


def test_the_sampled_normaliser_is_right_in_the_mean(problem, monkeypatch):
    """Over all draws of one word, weighted by their probabilities, the mean of exp(loss + logit) is exactly Z."""
    x, table, bias, targets = problem
    q = np.asarray(softmax.word_probability(jnp.arange(9), 9), np.float64)
    np.testing.assert_allclose(q.sum(), 1, rtol=1e-6)
    logits = x.astype(np.float64) @ table.T + bias
    target = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    mean = 0
    for word in range(9):
        monkeypatch.setattr(softmax, "draw_words", lambda *_, word=word: jnp.array([word]))
        arrays = map(jnp.asarray, problem)
        losses = softmax.sampled_cross_entropy(*arrays, num_samples=1, key=jax.random.key(0))
        mean = mean + q[word] * np.exp(np.asarray(losses, np.float64) + target)
    np.testing.assert_allclose(mean, np.exp(logits).sum(-1), rtol=1e-5)


def test_many_samples_give_the_full_loss_and_gradient(problem):
    x, table, bias, targets = problem
    words = jnp.asarray(targets)

    def full(table, bias):
        return softmax.cross_entropy(x, table, bias, words).mean()

    def sampled(table, bias):
        key = jax.random.key(0)
        return softmax.sampled_cross_entropy(x, table, bias, words, num_samples=40_000, key=key).mean()

    for found, value in zip(jax.grad(sampled, (0, 1))(table, bias), jax.grad(full, (0, 1))(table, bias), strict=True):
        np.testing.assert_allclose(found, value, rtol=0, atol=0.02 * np.abs(value).max())


def test_words_are_drawn_as_often_as_said():
    counts = np.bincount(softmax.draw_words(jax.random.key(0), 9, 100_000), minlength=9)
    np.testing.assert_allclose(counts / 1e5, softmax.word_probability(jnp.arange(9), 9), atol=0.006)


def test_losses_are_those_of_the_tied_softmax(rng):
    """Computed by hand from the layer's outputs; the gradient of the embedding, which is used twice, numerically."""
    model = make()
    tokens = rng.integers(3, 9, (2, 6)).astype(np.int32)
    lengths = np.array([6, 3], np.int32)
    losses, _ = model.losses(tokens, lengths)
    table = np.asarray(model.embedding.embedding[...])
    y, _ = model.layer(table[tokens[:, :-1].T])
    expected = numpy_losses(
        np.asarray(model.projection(y)), table, np.asarray(model.bias[...]), np.asarray(tokens[:, 1:].T)
    ).T
    np.testing.assert_allclose(losses[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(losses[1], [*expected[1, :2], 0, 0, 0], rtol=1e-5)

    split = split_model(model)

    @jax.jit
    def total(table):
        network = split.merge(split.parameters | {"embedding.embedding": table}, split.rest)
        return network.losses(tokens, lengths)[0].sum()

    direction = rng.normal(size=table.shape).astype(np.float32)
    slope = (total(table + 1e-2 * direction) - total(table - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose((jax.grad(total)(table) * direction).sum(), slope, rtol=2e-3)


def test_texts_in_a_row_are_as_each_alone_and_windows_go_on(rng):
    model = make("gru", hidden=4, num_layers=1)
    assert model.projection is None
    first, second = (rng.integers(3, 9, n) for n in (3, 4))
    row = np.array([[END, *first, END, *second, END]], np.int32)
    losses, state = model.losses(row, np.array([len(row[0])]))
    alone = [
        model.losses(np.array([[END, *text, END]], np.int32), np.array([len(text) + 2]))[0] for text in (first, second)
    ]
    np.testing.assert_allclose(losses, np.concatenate(alone, axis=1), rtol=1e-5)
    # Two windows that overlap in one token, the second one padded.
    one, middle = model.losses(row[:, :7], np.array([7]))
    padded = np.pad(row[:, 6:], ((0, 0), (0, 2)))
    two, last = model.losses(padded, np.array([row.shape[1] - 6]), state=middle)
    np.testing.assert_allclose(np.concatenate([one, two[:, :-2]], axis=1), losses, rtol=1e-5)
    np.testing.assert_allclose(last.h, state.h, rtol=1e-5)


def test_a_step_is_the_call(rng):
    model = make()
    tokens = np.array([[END, 5, 7, 3]], np.int32)
    logits, last = model(tokens)
    state = model.initial_state(1)
    for t in range(4):
        found, state = model.step(tokens[:, t], state)
        np.testing.assert_allclose(found, logits[:, t], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.c, last.c, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dropped", ["input", "output"])
def test_dropout_acts_on_the_embedding_and_on_the_output(rng, dropped):
    """The state depends only on the first; without input weights the losses depend only on the second."""
    model = make(num_layers=1, dropout_rate=0.5)
    cell = model.layer.cells[0]
    cell.b[...] = jax.random.normal(jax.random.key(2), cell.b.shape)
    if dropped == "output":
        cell.w_x[...] *= 0
    model.train()
    tokens = rng.integers(3, 9, (2, 6)).astype(np.int32)
    found = [run_features(model, tokens, dropped, nnx.Rngs(dropout=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def run_features(model, tokens, dropped, rngs):
    losses, state = model.losses(tokens, np.array([6, 6]), rngs=rngs)
    return losses if dropped == "output" else state.h


def test_the_estimate_needs_random_streams(rng):
    tokens = rng.integers(3, 9, (2, 6)).astype(np.int32)
    with pytest.raises(ValueError, match="rngs: expected random streams with samples"):
        make().losses(tokens, np.array([6, 6]), num_samples=3)
