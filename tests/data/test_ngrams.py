"""Runs of words: which are counted, what numbers they get, and their place in the vocabulary's file."""

from collections import Counter

import numpy as np
import pytest

from jaxrnn.data import BucketedBatches, Vocabulary
from jaxrnn.errors import InputError

TEXTS = ["not good at all", "not good", "good at it", "all not", "", "a\tb \\ good at", "not good at all"]
LISTS = [text.split(" ") if text else [] for text in TEXTS]


def make(longest=3, **options):
    words = ["good", "not", "at", "all", "a\tb", "\\"]  # "it" is unknown
    return Vocabulary(words).counted(LISTS, longest=longest, **options)


def by_hand(longest):
    """How often each run of known words occurs."""
    known = set(make().words)
    runs = Counter()
    for tokens in LISTS:
        for size in range(2, longest + 1):
            runs.update(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))
    return Counter({run: count for run, count in runs.items() if known.issuperset(run)})


def spelt(vocabulary):
    return {tuple(vocabulary.tokens[i] for i in run): n for run, n in vocabulary.ngrams.counts.items()}


@pytest.mark.parametrize("longest", [1, 2, 3, 4])
@pytest.mark.parametrize("min_count", [1, 2, 3])
def test_counts_are_those_of_a_plain_count(longest, min_count):
    expected = {run: count for run, count in by_hand(longest).items() if count >= min_count}
    assert spelt(make(longest, min_count=min_count)) == expected


def test_the_most_frequent_come_first_and_the_size_cuts_the_rest():
    counts = list(make().ngrams.counts.values())
    assert counts == sorted(counts, reverse=True)
    runs = list(spelt(make()))
    assert runs[:2] == [("good", "at"), ("not", "good")]  # 4 and 3 times
    assert list(spelt(make(max_size=2))) == runs[:2]


def test_each_step_has_the_numbers_of_the_runs_that_end_there():
    vocabulary = make()
    number = {run: place for place, run in enumerate(spelt(vocabulary), start=2)}
    tokens = ["not", "good", "at", "it", "not", "good", "all"]
    encoded = vocabulary.encode(tokens)
    assert encoded.dtype == np.int32
    for step, (word, pair, triple) in enumerate(encoded.tolist()):
        assert word == (vocabulary.tokens.index(tokens[step]) if tokens[step] != "it" else 0)
        assert pair == number.get(tuple(tokens[step - 1 : step + 1]) if step >= 1 else None, 0)
        assert triple == number.get(tuple(tokens[step - 2 : step + 1]) if step >= 2 else None, 0)
    assert set(encoded[:, 1].tolist()) == {0, number["not", "good"], number["good", "at"]}
    assert encoded[2, 2] == number["not", "good", "at"]


def test_short_texts_have_the_same_width():
    vocabulary = make(longest=4)
    assert vocabulary.encode([]).shape == (0, 4)
    assert vocabulary.encode(["good"]).tolist() == [[2, 0, 0, 0]]


def test_words_are_counted_too():
    vocabulary = make(longest=1)
    assert vocabulary.counts == (1, 0, 5, 4, 4, 3, 1, 1)  # "it" is the one unknown word
    assert vocabulary.encode(["good"]).tolist() == [2]
    assert len(vocabulary.ngrams) == 0


def test_batches_are_padded_with_the_padding_of_every_number():
    vocabulary = make(longest=2)
    batches = BucketedBatches(
        [vocabulary.encode(tokens) for tokens in LISTS[:3]], [0, 1, 0], boundaries=(5,), batch_size=4, seed=0
    )
    (batch,) = batches.in_order()
    assert batch.tokens.shape == (4, 5, 2)
    for row, place in enumerate(batch.indices[batch.indices >= 0]):
        length = batch.lengths[row]
        np.testing.assert_array_equal(batch.tokens[row, :length], vocabulary.encode(LISTS[place]))
        assert (batch.tokens[row, length:] == 1).all()


def test_the_file_holds_words_counts_and_runs(tmp_path):
    path = tmp_path / "vocabulary.txt"
    vocabulary = make()
    vocabulary.save(path)
    lines = path.read_text().split("\n")
    assert lines[:3] == ["<unk>\t1", "<pad>\t0", "good\t5"]
    assert "a\\tb\t1" in lines
    assert "good\tat\t4" in lines
    loaded = Vocabulary.load(path)
    assert loaded == vocabulary
    assert (loaded.counts, loaded.ngrams.counts) == (vocabulary.counts, vocabulary.ngrams.counts)
    assert list(loaded.ngrams.counts) == list(vocabulary.ngrams.counts)  # the order is the numbers


def test_vocabularies_are_equal_when_all_numbers_are():
    assert make() == make()
    assert make() == Vocabulary(make().words, ngrams=make().ngrams)  # counts change no number
    assert make() != make(longest=2)
    assert make(longest=1) != Vocabulary(["good"])


@pytest.mark.parametrize(
    "content",
    [
        "<unk>\t1\n<pad>\t0\ngood\n",  # no count
        "<unk>\t1\n<pad>\t0\ngood\tmany\n",
        "<unk>\t1\n<pad>\t0\ngood\t-1\n",
        "<unk>\t1\n<pad>\t0\ngood\t3\ngood\tbad\t1\n",  # of an unknown word
        "<unk>\t1\n<pad>\t0\ngood\t3\ngood\tgood\t1\nbad\t1\n",  # a word after the runs
        "<unk>\t1\n<pad>\t0\ngood\t3\ngood\tgood\t1\ngood\tgood\t1\n",
        "<unk>\t1\n<pad>\t0\ngood\t3\n7\n",
        "<unk>\n<pad>\ngood\ngood\tgood\n",  # runs without counts
    ],
)
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "vocabulary.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=r"vocabulary\.txt: expected a vocabulary file"):
        Vocabulary.load(path)
