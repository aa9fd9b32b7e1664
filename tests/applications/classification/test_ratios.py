"""Log-count ratios against a count in plain Python, and their file."""

import math
from collections import Counter

import numpy as np
import pytest

from jaxrnn.applications.classification.ngrams import NGrams
from jaxrnn.applications.classification.ratios import (
    NUM_FOLDS,
    folds_of,
    load_ratios,
    log_count_ratios,
    rows_of,
    save_ratios,
)
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError

NUM_WORDS, NUM_NGRAMS = 9, 7


def make_texts(count, longest, seed=0):
    """Rows of words, unknown ones among them, and beside them of n-grams up to the longest; one text is empty."""
    rng = np.random.default_rng(seed)
    texts = []
    for place in range(count):
        length = rng.integers(1, 6) if place else 0
        columns = [rng.choice([0, *range(2, NUM_WORDS)], length)]
        columns += [NUM_WORDS + rng.integers(0, NUM_NGRAMS, length) for _ in range(longest - 1)]
        texts.append(np.stack(columns, 1).astype(np.int32))
    return texts


def by_hand(texts, labels, wanted_class, num_rows):
    """The ratio of each row of the table, from the texts that have it."""
    inside, outside = Counter(), Counter()
    for text, label in zip(texts, labels, strict=True):
        (inside if label == wanted_class else outside).update({*text.flatten().tolist()})
    p, q = (sum(each.values()) + num_rows for each in (inside, outside))
    return [math.log((inside[row] + 1) / p / ((outside[row] + 1) / q)) for row in range(num_rows)]


@pytest.mark.parametrize(("num_classes", "longest"), [(2, 1), (2, 3), (3, 2)])
def test_ratios_are_those_of_a_plain_count(num_classes, longest):
    texts = make_texts(45, longest)
    labels = np.random.default_rng(1).integers(0, num_classes, len(texts))
    folds = folds_of(labels)
    num_ngrams = NUM_NGRAMS if longest > 1 else 0
    found = log_count_ratios(texts, labels, folds, num_classes=num_classes, num_words=NUM_WORDS, num_ngrams=num_ngrams)
    rows = NUM_WORDS + num_ngrams
    assert found.dtype == np.float32
    assert found.shape == (NUM_FOLDS + 1, rows, 1 if num_classes == 2 else num_classes)
    without_ratio = [0, 1] + ([NUM_WORDS] if num_ngrams else [])  # unknown word, padding, unknown n-gram
    for fold in range(NUM_FOLDS + 1):
        others = [place for place in range(len(texts)) if folds[place] != fold]
        for column, wanted in enumerate([1] if num_classes == 2 else range(num_classes)):
            expected = by_hand([texts[i] for i in others], labels[others], wanted, rows)
            for row in without_ratio:
                expected[row] = 0
            np.testing.assert_allclose(found[fold, :, column], expected, rtol=1e-5, atol=1e-6)


def test_a_text_has_no_part_in_the_ratios_of_its_fold():
    texts, labels = make_texts(40, 1), np.arange(40) % 2
    folds = folds_of(labels)
    sizes = {"num_classes": 2, "num_words": NUM_WORDS, "num_ngrams": 0}
    before = log_count_ratios(texts, labels, folds, **sizes)
    texts[7] = np.array([[2], [3]], np.int32)
    labels[7] = 1 - labels[7]
    after = log_count_ratios(texts, labels, folds, **sizes)
    changed = (before != after).any((1, 2))
    assert not changed[folds[7]]
    assert changed.sum() == NUM_FOLDS  # the other folds', and those of all texts


def test_a_fold_holds_neighbours_of_each_class():
    labels = np.random.default_rng(0).permutation([0] * 43 + [1] * 57 + [2] * 4)
    folds = folds_of(labels)
    for label, count in ((0, 43), (1, 57)):
        of_class = folds[labels == label]
        assert (np.diff(of_class) >= 0).all()
        sizes = np.bincount(of_class, minlength=NUM_FOLDS)
        assert sizes.min() >= count // NUM_FOLDS
        assert sizes.max() <= -(-count // NUM_FOLDS)
    assert len(set(folds[labels == 2])) == 4  # as far apart as they can be


def test_the_rows_of_a_token_are_its_word_and_the_ngrams_that_end_with_it():
    vocabulary, ngrams = Vocabulary(["not", "good", "at"]), NGrams([(2, 3), (2, 3, 4)])
    rows = rows_of(vocabulary.encode(["not", "good", "at", "it"]), vocabulary, ngrams)
    assert rows.dtype == np.int32
    unknown = len(vocabulary)
    assert rows.tolist() == [
        [2, unknown, unknown],
        [3, unknown + 1, unknown],
        [4, unknown, unknown + 2],
        [0, unknown, unknown],
    ]
    assert rows_of(vocabulary.encode([]), vocabulary, ngrams).shape == (0, 3)
    assert rows_of(vocabulary.encode(["at"]), vocabulary, NGrams()).tolist() == [[4]]


def test_the_file_holds_the_table(tmp_path):
    path = tmp_path / "ratios.safetensors"
    table = np.random.default_rng(0).normal(size=(NUM_FOLDS + 1, 5, 3)).astype(np.float32)
    save_ratios(path, table)
    np.testing.assert_array_equal(load_ratios(path, num_rows=5, num_outputs=3), table)
    for sizes in ({"num_rows": 6, "num_outputs": 3}, {"num_rows": 5, "num_outputs": 1}):
        with pytest.raises(InputError, match=r"ratios\.safetensors: expected the log-count ratios"):
            load_ratios(path, **sizes)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], b"\xff" + whole[1:], whole.replace(b"ratios", b"others")):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"ratios\.safetensors: expected the log-count ratios"):
            load_ratios(path, num_rows=5, num_outputs=3)
    path.unlink()
    with pytest.raises(InputError, match=r"ratios\.safetensors"):
        load_ratios(path, num_rows=5, num_outputs=3)
    save_ratios(path, np.full_like(table, np.nan))
    with pytest.raises(InputError, match=r"ratios\.safetensors"):
        load_ratios(path, num_rows=5, num_outputs=3)
