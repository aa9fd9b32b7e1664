"""Log-count ratios against a count in plain Python."""

import math
from collections import Counter

import numpy as np
import pytest

from jaxrnn.data import NUM_FOLDS, BucketedBatches, folds_of, log_count_ratios

NUM_WORDS, NUM_NGRAMS = 9, 7


def make_texts(count, num_numbers, seed=0):
    """Word numbers from 0 on, unknown words among them, and beside them numbers of runs; one text is empty."""
    rng = np.random.default_rng(seed)
    texts = []
    for place in range(count):
        length = rng.integers(1, 6) if place else 0
        columns = [rng.choice([0, *range(2, NUM_WORDS)], length)]
        columns += [rng.choice([0, *range(2, NUM_NGRAMS)], length) for _ in range(num_numbers - 1)]
        texts.append(np.stack(columns, 1).astype(np.int32) if num_numbers > 1 else columns[0].astype(np.int32))
    return texts


def by_hand(texts, labels, wanted_class, rows):
    """The ratio of each row of the table, from which texts have it."""
    inside, outside = Counter(), Counter()
    for text, label in zip(texts, labels, strict=True):
        words = {int(step if np.ndim(step) == 0 else step[0]) for step in text}
        runs = {NUM_WORDS + int(number) for step in text if np.ndim(step) for number in step[1:]}
        (inside if label == wanted_class else outside).update(words | runs)
    p, q = (sum(each.values()) + rows for each in (inside, outside))
    return [math.log((inside[row] + 1) / p / ((outside[row] + 1) / q)) for row in range(rows)]


@pytest.mark.parametrize(("num_classes", "num_numbers"), [(2, 1), (2, 3), (3, 2)])
def test_ratios_are_those_of_a_plain_count(num_classes, num_numbers):
    texts = make_texts(45, num_numbers)
    labels = np.random.default_rng(1).integers(0, num_classes, len(texts))
    folds = folds_of(labels)
    num_ngrams = NUM_NGRAMS if num_numbers > 1 else 0
    found = log_count_ratios(texts, labels, folds, num_classes=num_classes, num_words=NUM_WORDS, num_ngrams=num_ngrams)
    rows = NUM_WORDS + num_ngrams
    assert found.dtype == np.float32
    assert found.shape == (NUM_FOLDS + 1, rows, 1 if num_classes == 2 else num_classes)
    specials = [0, 1] + ([NUM_WORDS, NUM_WORDS + 1] if num_ngrams else [])
    for fold in range(NUM_FOLDS + 1):
        others = [place for place in range(len(texts)) if folds[place] != fold]
        for column, wanted in enumerate([1] if num_classes == 2 else range(num_classes)):
            expected = by_hand([texts[i] for i in others], labels[others], wanted, rows)
            for row in specials:
                expected[row] = 0
            np.testing.assert_allclose(found[fold, :, column], expected, rtol=1e-5, atol=1e-6)


def test_a_text_has_no_part_in_the_ratios_of_its_fold():
    texts, labels = make_texts(40, 1), np.arange(40) % 2
    folds = folds_of(labels)
    sizes = {"num_classes": 2, "num_words": NUM_WORDS, "num_ngrams": 0}
    before = log_count_ratios(texts, labels, folds, **sizes)
    texts[7] = np.array([2, 3], np.int32)
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


def test_batches_tell_the_fold_of_each_text():
    texts = [np.full(n, 2, np.int32) for n in (1, 4, 2, 3, 5)]
    folds = np.array([3, 0, 9, 9, 1], np.int32)
    batches = BucketedBatches(texts, [0, 1, 0, 1, 0], folds=folds, boundaries=(5,), batch_size=3, seed=0)
    for batch in batches.epoch(0):
        real = batch.indices >= 0
        np.testing.assert_array_equal(batch.folds[real], folds[batch.indices[real]])
        assert batch.folds.dtype == np.int32
        assert not batch.folds[~real].any()
