"""N-grams: which are counted, what numbers they get, and their file."""

from collections import Counter

import numpy as np
import pytest

from jaxrnn.applications.classification.ngrams import NGrams
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError

TEXTS = ["not good at all", "not good", "good at it", "all not", "", "a\tb \\ good at", "not good at all"]
LISTS = [text.split(" ") if text else [] for text in TEXTS]
VOCABULARY = Vocabulary(["good", "not", "at", "all", "a\tb", "\\"])  # "it" is unknown


def make(longest=3, **options):
    token_ids = [VOCABULARY.encode(tokens).tolist() for tokens in LISTS]
    return NGrams.build(token_ids, first_word=2, longest=longest, **options)


def by_hand(longest):
    """How often each n-gram of known words occurs."""
    ngrams = Counter()
    for tokens in LISTS:
        for size in range(2, longest + 1):
            ngrams.update(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))
    return Counter({ngram: count for ngram, count in ngrams.items() if all(word in VOCABULARY for word in ngram)})


def spelt(ngrams):
    return [tuple(VOCABULARY.tokens[i] for i in ngram) for ngram in ngrams.ngrams]


@pytest.mark.parametrize("longest", [1, 2, 3, 4])
@pytest.mark.parametrize("min_count", [1, 2, 3])
def test_known_are_those_that_occur_often_enough(longest, min_count):
    ngrams = make(longest, min_count=min_count)
    assert set(spelt(ngrams)) == {ngram for ngram, count in by_hand(longest).items() if count >= min_count}
    assert len(spelt(ngrams)) == len(set(spelt(ngrams)))


def test_the_most_frequent_come_first_and_the_size_cuts_the_rest():
    counts = by_hand(3)
    ngrams = spelt(make())
    assert [counts[ngram] for ngram in ngrams] == sorted(counts.values(), reverse=True)
    assert ngrams[:2] == [("good", "at"), ("not", "good")]  # 4 and 3 times
    assert spelt(make(max_size=2)) == ngrams[:2]


def test_each_token_has_the_numbers_of_the_ngrams_that_end_there():
    ngrams = make()
    number = {ngram: place for place, ngram in enumerate(spelt(ngrams), start=1)}
    tokens = ["not", "good", "at", "it", "not", "good", "all"]
    encoded = ngrams.encode(VOCABULARY.encode(tokens).tolist())
    assert encoded.dtype == np.int32
    assert encoded.shape == (7, 2)
    for step, (pair, triple) in enumerate(encoded.tolist()):
        assert pair == number.get(tuple(tokens[step - 1 : step + 1]) if step >= 1 else None, 0)
        assert triple == number.get(tuple(tokens[step - 2 : step + 1]) if step >= 2 else None, 0)
    assert set(encoded[:, 0].tolist()) == {0, number["not", "good"], number["good", "at"]}
    assert encoded[2, 1] == number["not", "good", "at"]
    assert len(ngrams) == 1 + len(number)


def test_short_texts_have_the_same_width():
    ngrams = make(longest=4)
    assert ngrams.encode([]).shape == (0, 3)
    assert ngrams.encode([2]).tolist() == [[0, 0, 0]]


def test_without_ngrams_there_are_no_numbers():
    ngrams = make(longest=1)
    assert (len(ngrams), ngrams.longest) == (0, 1)
    assert ngrams.encode([2, 3]).shape == (2, 0)


@pytest.mark.parametrize("ngrams", [[(2,)], [(2, 3), (2, 3)]])
def test_single_words_and_repetitions_are_refused(ngrams):
    with pytest.raises(ValueError, match="ngrams: expected distinct n-grams of two or more words"):
        NGrams(ngrams)


def test_the_file_holds_the_words(tmp_path):
    path = tmp_path / "ngrams.txt"
    ngrams = make()
    ngrams.save(path, VOCABULARY)
    lines = path.read_text().split("\n")
    assert lines[:2] == ["good\tat", "not\tgood"]
    assert "a\\tb\t\\\\" in lines
    loaded = NGrams.load(path, VOCABULARY)
    assert loaded.ngrams == ngrams.ngrams  # the order is the numbers
    assert loaded == ngrams
    assert loaded != make(longest=2)


@pytest.mark.parametrize(
    "content",
    [
        b"good\tbad\n",  # an unknown word
        b"good\n",
        b"good\tgood\ngood\tgood\n",
        b"good\tgood",  # cut short
        b"good\t\\x\n",
        b"\xff\n",
    ],
)
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "ngrams.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ngrams\.txt: expected one n-gram a line"):
        NGrams.load(path, VOCABULARY)
