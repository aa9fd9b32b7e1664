"""Pieces of words: which are chosen, and what unknown words become."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrnn.data import Vocabulary
from jaxrnn.data.subwords import choose_pieces, cut

COUNTS = {"watch": 50, "unable": 2, "enable": 1, "tables": 4}


def test_pieces_are_ranked_by_the_characters_they_make_up():
    characters = Counter()
    for word, count in COUNTS.items():
        for start in range(len(word)):
            for size in range(1, 7):
                if word != "watch" and start + size <= len(word):
                    characters["⁀" * (start > 0) + word[start : start + size]] += count * size
    expected = sorted(characters, key=lambda piece: (-characters[piece], piece))
    assert choose_pieces(COUNTS, {"watch"}, max_size=10**6) == expected
    assert choose_pieces(COUNTS, {"watch"}, max_size=3) == expected[:3] == ["⁀able", "tables", "⁀abl"]
    assert choose_pieces(COUNTS, {"watch", "tables"}, max_size=2) == ["⁀nable", "unable"]
    assert choose_pieces(COUNTS, COUNTS, max_size=5) == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("unwatchable", ["un", "⁀watch", "⁀able"]),
        ("unwatched", None),  # nothing for the end
        ("watchable", ["watch", "⁀able"]),  # a word of the vocabulary is a beginning,
        ("unable", ["un", "⁀able"]),
        ("tables", ["t", "⁀able", "⁀s"]),
        ("tablets", ["t", "⁀able", "⁀ts"]),
        ("tablet", None),
        ("able", None),  # a continuation is not
        ("un", ["un"]),
        ("", []),
    ],
)
def test_the_longest_piece_that_fits(word, expected):
    assert cut(word, {"un", "u", "t", "watch", "⁀watch", "⁀wat", "⁀able", "⁀s", "⁀ts"}) == expected


def test_unknown_tokens_get_the_numbers_of_their_pieces():
    texts = [3 * ["watch", "it"], ["doable"], ["doable"], ["unit"]]
    vocabulary = Vocabulary.build(texts, min_count=2, max_size=2, num_pieces=1000)
    assert vocabulary.words[:3] == ("it", "watch", "doable")  # the first piece: the most characters
    pieces = ["watch", "it", "⁀able", "☃", "do", "⁀it"]
    assert vocabulary.cut(["watch", "itable", "☃", "doit"]) == pieces
    expected = [vocabulary.tokens.index(piece) if piece != "☃" else 0 for piece in pieces]
    np.testing.assert_array_equal(vocabulary.encode(["watch", "itable", "☃", "doit"]), expected)


def test_runs_are_those_of_the_pieces(tmp_path):
    vocabulary = Vocabulary(["un", "it", "⁀able"]).counted([["unable", "it"], ["it", "unable"]], longest=2)
    assert vocabulary.counts == (0, 0, 2, 2, 2)
    un, it, able = 2, 3, 4
    assert vocabulary.ngrams.counts == {(un, able): 2, (able, it): 1, (it, un): 1}
    assert vocabulary.encode(["unable", "x"]).tolist() == [[un, 0], [able, 2], [0, 0]]
    vocabulary.save(tmp_path / "vocabulary.txt")
    loaded = Vocabulary.load(tmp_path / "vocabulary.txt")
    assert loaded.cut(["unable", "x"]) == ["un", "⁀able", "x"]


def test_without_pieces_tokens_stay():
    assert Vocabulary(["a", "b"]).cut(["ab", "a", "ba"]) == ["ab", "a", "ba"]


@given(words=st.lists(st.text("abcd☃", min_size=1, max_size=9), min_size=1, max_size=30), size=st.integers(1, 60))
def test_pieces_spell_the_word(words, size):
    vocabulary = Vocabulary.build([words], min_count=2, num_pieces=size)
    for word in [*words, *("".join(pair) for pair in zip(words, words[::-1], strict=True))]:
        pieces = vocabulary.cut([word])
        assert pieces == [word] or "".join([pieces[0], *(piece.removeprefix("⁀") for piece in pieces[1:])]) == word
        assert pieces == [word] or all(piece in vocabulary.words for piece in pieces)
        assert all(piece.startswith("⁀") for piece in pieces[1:])
