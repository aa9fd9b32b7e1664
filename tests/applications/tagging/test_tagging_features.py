"""What a tagger reads of words: spellings, pretrained vectors, shapes, characters."""

import numpy as np
import pytest

from jaxrnn.applications.tagging.features import Encoder, WordVectors, shortened, spellings
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("New", ["New", "new"]),
        ("#Sooooo", ["#Sooooo", "#sooooo", "sooooo", "#soo", "#so"]),
        ("&amp;", ["&amp;", "&"]),
        ("@Ada", ["@Ada", "@ada", "ada"]),
        ("#", ["#"]),
        ("letter", ["letter", "leter"]),
    ],
)
def test_spellings_from_the_most_faithful_on(word, expected):
    assert list(dict.fromkeys(spellings(word))) == expected


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("new 1 2\nso 3 4\nNew 5 6\nada 7 8\nrare 9 9\n")
    return path


def test_a_word_has_the_vector_of_its_first_spelling_that_has_one(path):
    vectors = WordVectors.read(str(path), features=2, max_words=4)
    assert vectors.words.words == ("new", "so", "New", "ada")
    assert vectors.matrix.dtype == np.float32
    rows = vectors.rows(["New", "NEW", "soooo", "#Ada", "rare", "<pad>"])
    np.testing.assert_array_equal(vectors.matrix[rows], [[5, 6], [1, 2], [3, 4], [7, 8], [0, 0], [0, 0]])
    assert (rows[-2:] == Vocabulary.unknown_id).all()


def test_vectors_are_kept_whole_or_named_as_damaged(path, tmp_path):
    vectors = WordVectors.read(str(path), features=2, max_words=9)
    assert not WordVectors.is_in(tmp_path)
    vectors.save(tmp_path)
    assert WordVectors.is_in(tmp_path)
    assert WordVectors.load(tmp_path) == vectors
    Vocabulary(["new", "so"]).save(tmp_path / "vector_words.txt")
    with pytest.raises(
        InputError, match=r"vectors.safetensors: expected the vectors of the 4 words of vector_words.tx"
    ):
        WordVectors.load(tmp_path)


def test_a_sentence_as_the_model_reads_it(path):
    encoder = Encoder(
        words=Vocabulary(["ada"]), shapes=Vocabulary(["xx", "XX"]), characters=Vocabulary("adnew"), max_characters=4,
        vectors=WordVectors.read(str(path), features=2, max_words=9),
    )  # fmt: skip
    a, d, n, e, w = range(2, 7)
    unknown, pad = Vocabulary.unknown_id, Vocabulary.pad_id
    words, shapes, characters, vectors = encoder(["ADA", "new", "Wanderer"])
    np.testing.assert_array_equal(shapes, [3, 2, unknown])
    np.testing.assert_array_equal(words, [2, unknown, unknown])
    np.testing.assert_array_equal(
        characters,
        [[unknown, unknown, unknown, pad], [n, e, w, pad], [unknown, a, e, unknown]],  # "Wa" and "er"
    )
    np.testing.assert_array_equal(
        vectors, [encoder.vectors.words.encode([word])[0] for word in ("ada", "new", "<unk>")]
    )
    assert {words.dtype, shapes.dtype, characters.dtype, vectors.dtype} == {np.dtype(np.int32)}
    empty = encoder([])
    assert (empty.words.shape, empty.characters.shape, empty.vectors.shape) == ((0,), (0, 4), (0,))
    assert d not in characters


@pytest.mark.parametrize(("length", "expected"), [(6, "intion"), (5, "inton"), (1, "i"), (20, "internationalisation")])
def test_a_long_word_loses_its_middle(length, expected):
    assert shortened("internationalisation", length) == expected
