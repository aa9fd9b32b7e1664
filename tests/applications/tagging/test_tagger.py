"""The tagger: what it reads, its loss, and what it decodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.applications.tagging import crf
from jaxrnn.applications.tagging.config import TaggingModelConfig
from jaxrnn.applications.tagging.model import Tagger
from jaxrnn.applications.tagging.schemes import legal_transitions
from jaxrnn.data.text import Vocabulary

TAGS = ("O", *(f"{prefix}-{name}" for prefix in "BIES" for name in "XY"))
LEGAL = legal_transitions(TAGS, "BIOES")
SIZES = {"hidden": 4, "word_features": 3, "shape_features": 2, "character_features": 2, "character_hidden": 3}
TABLE = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
LENGTHS = np.array([4, 2, 0])
UNKNOWN, PAD = Vocabulary.unknown_id, Vocabulary.pad_id


def make(*, vectors=TABLE, **settings):
    model = Tagger(
        TaggingModelConfig(**SIZES | settings), num_words=6, num_shapes=5, num_characters=7, vectors=vectors,
        legal=LEGAL, outside=0, rngs=nnx.Rngs(0),
    )  # fmt: skip
    model.eval()
    return model


def make_batch(rng, time=4):
    """Words, lengths, shapes, characters and rows of vectors, with random numbers in the padding."""
    characters = rng.integers(2, 7, (3, time, 5))
    characters[np.arange(5) >= rng.integers(1, 6, (3, time, 1))] = PAD
    words, shapes, vectors = rng.integers(0, 6, (3, time)), rng.integers(0, 5, (3, time)), rng.integers(0, 5, (3, time))
    return {"words": words, "lengths": LENGTHS, "shapes": shapes, "characters": characters, "vectors": vectors}


# Compiled, as a trainer does: one program in the place of hundreds.
scores_of = nnx.jit(lambda model, batch: model(**batch))
embed = nnx.jit(lambda model, *words, rngs=None: model.embed(*words, rngs=rngs))
loss_of = nnx.jit(lambda model, *arguments: model.loss(*arguments))
decode = nnx.jit(lambda model, *arguments: model.decode(*arguments))


@pytest.mark.parametrize("settings", [{"decoder": "crf"}, {"decoder": "softmax", "cell": "gru", "num_layers": 2}])
def test_padding_changes_nothing(rng, settings):
    model = make(**settings)
    batch = make_batch(rng)
    tags = rng.integers(0, len(TAGS), (3, 4))
    longer = make_batch(rng, 6)
    valid = np.arange(4) < LENGTHS[:, None]
    for name in ("words", "shapes", "characters", "vectors"):
        longer[name][:, :4][valid] = batch[name][valid]
    scores, longer_scores = scores_of(model, batch), scores_of(model, longer)
    np.testing.assert_allclose(longer_scores[:, :4][valid], scores[valid], rtol=1e-5, atol=1e-6)
    is_padding = np.arange(6) >= LENGTHS[:, None]
    spoilt = jnp.where(is_padding[..., None], jnp.nan, longer_scores)
    longer_tags = np.where(is_padding, 99, np.pad(tags, ((0, 0), (0, 2))))
    expected, num_judged = loss_of(model, scores, tags, LENGTHS)
    losses, longer_num_judged = loss_of(model, spoilt, longer_tags, LENGTHS)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_array_equal(num_judged, LENGTHS)
    np.testing.assert_array_equal(longer_num_judged, LENGTHS)
    assert losses[2] == 0
    np.testing.assert_array_equal(decode(model, spoilt, LENGTHS)[:, :4], decode(model, scores, LENGTHS))


def test_a_word_is_read_as_its_vectors_and_the_states_over_its_characters(rng):
    model = make()
    batch = make_batch(rng)
    inputs = embed(model, batch["words"], batch["shapes"], batch["characters"], batch["vectors"])
    for row, place in ((0, 0), (0, 3), (1, 1)):
        characters = batch["characters"][row, place]
        embedded = model.characters(characters[characters != PAD])[:, None]  # [time, 1, features]
        _, state = model.character_layer(embedded)
        vector = batch["vectors"][row, place]
        expected = [
            *(direction[0] for direction in state.h),
            model.words(batch["words"][row, place]),
            model.shapes(batch["shapes"][row, place]),
            model.unknown_vector[...] if vector == UNKNOWN else TABLE[vector],
        ]
        np.testing.assert_allclose(inputs[row, place], np.concatenate(expected), rtol=1e-5, atol=1e-6)


def test_pretrained_vectors_stay_and_that_of_other_words_is_trained(rng):
    model = make()
    batch = make_batch(rng)
    batch["vectors"][0, 0] = UNKNOWN
    tags = rng.integers(0, len(TAGS), (3, 4))
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    @jax.grad
    def gradient(parameters):
        network = nnx.merge(graph, parameters, rest)
        return network.loss(network(**batch), tags, LENGTHS)[0].sum()

    gradients = gradient(parameters)
    assert "vectors" not in gradients
    assert np.abs(gradients["unknown_vector"][...]).min() > 0
    for name in ("between", "first", "last"):
        assert np.abs(gradients[name][...]).max() > 0


@pytest.mark.parametrize("vectors", [TABLE, None])
def test_word_dropout_leaves_shape_and_characters_alone(vectors):
    model = make(word_dropout_rate=0.25, vectors=vectors)
    shape = (40, 50)
    words, shapes, characters = np.full(shape, 4), np.full(shape, 2), np.full((*shape, 1), 3)
    rows = None if vectors is None else np.full(shape, 2)
    plain = embed(model, words, shapes, characters, rows)
    model.train()
    dropped = np.asarray(embed(model, words, shapes, characters, rows, rngs=nnx.Rngs(dropout=0)))
    is_hidden = (dropped != plain).any(-1)
    assert 0.2 < is_hidden.mean() < 0.3
    expected = jnp.concatenate([model.words(np.array(UNKNOWN)), model.shapes(np.array(2))])
    if vectors is not None:
        expected = np.concatenate([expected, model.unknown_vector[...]])
    np.testing.assert_array_equal(
        dropped[is_hidden][:, 6:], np.broadcast_to(expected, (is_hidden.sum(), len(expected)))
    )
    np.testing.assert_array_equal(dropped[..., :6], plain[..., :6])


def test_rows_of_vectors_are_needed_where_there_are_any(rng):
    with pytest.raises(ValueError, match="vectors: expected rows of the pretrained vectors"):
        make()(**make_batch(rng) | {"vectors": None})


def test_the_loss_of_a_softmax_leaves_out_tags_that_training_has_not_seen(rng):
    model = make(decoder="softmax")
    scores = scores_of(model, make_batch(rng))
    np.testing.assert_allclose(jnp.exp(scores).sum(-1), 1, rtol=1e-5)
    tags = np.array([[1, len(TAGS), 0, 3], [0, len(TAGS) + 1, 0, 0], [0, 0, 0, 0]])
    losses, num_judged = loss_of(model, scores, tags, LENGTHS)
    np.testing.assert_array_equal(num_judged, [3, 1, 0])
    np.testing.assert_allclose(
        losses, [-(scores[0, 0, 1] + scores[0, 2, 0] + scores[0, 3, 3]), -scores[1, 0, 0], 0], rtol=1e-5
    )


def test_the_loss_of_a_random_field_leaves_out_their_sentences(rng):
    model = make(decoder="crf")
    scores = scores_of(model, make_batch(rng))
    legal = [TAGS.index(tag) for tag in ("B-X", "E-X", "O", "S-Y")]
    losses, num_judged = loss_of(model, scores, np.array([legal, [0, len(TAGS), 0, 0], legal]), LENGTHS)
    np.testing.assert_array_equal(num_judged, [4, 0, 0])
    mask = crf.Transitions(*(np.where(part, 0.0, -np.inf).astype(np.float32) for part in LEGAL))
    likelihood = crf.log_likelihood(scores[:1], np.array([legal]), LENGTHS[:1], mask)
    np.testing.assert_allclose(losses, [-likelihood[0], 0, 0], rtol=1e-4)


@pytest.mark.parametrize("decoder", ["softmax", "crf"])
def test_decoded_tags_are_legal_and_more_spans_are_found_with_a_penalty_of_o(rng, decoder):
    lengths = rng.integers(1, 8, 60)
    scores = jnp.asarray(rng.normal(0, 3, (60, 7, len(TAGS))), jnp.float32)
    num_outside = []
    for penalty in (0.0, 4.0):
        model = make(decoder=decoder, outside_penalty=penalty)
        if decoder == "crf":  # weights that prefer what is not legal
            model.between[...] = jnp.where(LEGAL.transitions, 0.0, 5.0)
        decoded = np.asarray(decode(model, scores, lengths))
        for path, length in zip(decoded, lengths, strict=True):
            assert LEGAL.first[path[0]]
            assert LEGAL.last[path[length - 1]]
            assert LEGAL.transitions[path[: length - 1], path[1:length]].all()
        is_padding = np.arange(7) >= lengths[:, None]
        assert not decoded[is_padding].any()
        num_outside.append((decoded[~is_padding] == 0).sum())
    assert num_outside[1] < 0.9 * num_outside[0]
