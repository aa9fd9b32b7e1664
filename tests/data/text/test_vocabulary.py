import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrnn.data.text import Vocabulary
from jaxrnn.data.text.vocabulary import END
from jaxrnn.errors import InputError

ODD = ["a\nb", "\r", "\\n", "\\", '"', " ", "  ", "\t", "\u2028", "\u2029", "\x85", "\x0b", "\x00", "é", "🎬", ""]


def test_most_frequent_first_then_alphabetical():
    lists = [["b", "a", "c", "c"], [], ["a", "b", "d", "<pad>"]]
    assert Vocabulary.build(lists).tokens == ("<unk>", "<pad>", "a", "b", "c", "d")
    assert Vocabulary.build(lists, max_size=2).tokens == ("<unk>", "<pad>", "a", "b")
    many = [str(number) for number in range(30_000)]
    assert len(Vocabulary.build([many])) == 25_002
    assert len(Vocabulary.build([many], max_size=None)) == 30_002
    assert Vocabulary.build([*lists, ["c"]], min_count=2).tokens == ("<unk>", "<pad>", "c", "a", "b")


def test_encode():
    vocabulary = Vocabulary(["b", "a"])
    ids = vocabulary.encode(["a", "x", "b", "<pad>", "<unk>"])
    assert ids.tolist() == [3, 0, 2, 0, 0]  # a text cannot write padding
    assert ids.dtype == np.int32
    assert vocabulary.encode([]).shape == (0,)
    assert len(vocabulary) == 4
    assert (vocabulary.unknown_id, vocabulary.pad_id) == (0, 1)


def test_round_trip_with_odd_tokens(tmp_path):
    path = tmp_path / "vocabulary.txt"
    Vocabulary(ODD).save(path)
    assert Vocabulary.load(path).tokens == ("<unk>", "<pad>", *ODD)
    assert path.read_bytes().count(b"\n") == len(ODD) + 2  # one token a line
    assert [file.name for file in tmp_path.iterdir()] == ["vocabulary.txt"]


@given(words=st.sets(st.text(st.characters(exclude_categories=["Cs"]))))
def test_round_trip(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.txt"
    vocabulary = Vocabulary(sorted(words - {"<unk>", "<pad>"}))
    vocabulary.save(path)
    assert Vocabulary.load(path).tokens == vocabulary.tokens


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\nworld\n",
        b"<pad>\n<unk>\na\n",
        b"<unk>\n<pad>\na\nhalf a li",  # cut off
        b"<unk>\n<pad>\na\na\n",
        b'<unk>\n<pad>\na"b\n',
        b"<unk>\n<pad>\n\xff\n",
        b"<unk>\n<pad>\n<pad>\n",
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"vocabulary\.txt: expected a vocabulary file"):
        Vocabulary.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        Vocabulary.load(tmp_path / "none.txt")


@pytest.mark.parametrize("words", [["a", "a"], ["<unk>"]])
def test_words_must_be_distinct_and_ordinary(words):
    with pytest.raises(ValueError, match="distinct"):
        Vocabulary(words)


def test_the_end_of_a_text_is_a_word_that_no_text_can_spell(tmp_path):
    vocabulary = Vocabulary.build([["b", "a", "b", "<end>"]], with_end=True)
    assert vocabulary.words == (END, "b", "a")
    assert vocabulary.end_id == 2
    assert vocabulary.encode(["<end>", "b"]).tolist() == [0, 3]
    vocabulary.save(tmp_path / "vocabulary.txt")
    assert Vocabulary.load(tmp_path / "vocabulary.txt").end_id == 2
    plain = Vocabulary.build([["b", "<end>"]])
    assert (plain.words, plain.end_id) == (("b",), None)


def test_equality_is_that_of_the_numbers():
    assert Vocabulary(["a", "b"]) == Vocabulary(["a", "b"])
    assert Vocabulary(["a", "b"]) != Vocabulary(["b", "a"])
    assert Vocabulary(["a"]) != Vocabulary(["a", "b"])


def test_words_of_two_vocabularies():
    ours, theirs = Vocabulary(["a", "b"]), Vocabulary([END, "b", "c", "d"])
    both = ours.extended(theirs)
    assert both.words == ("a", "b", "c", "d")
    # <unk> and <pad>, then each word's row in the other vocabulary
    assert both.rows_in(theirs).tolist() == [0, 1, -1, 3, 4, 5]
