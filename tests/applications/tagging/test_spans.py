"""Spans and their scores against seqeval, the usual evaluation of names."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics.sequence_labeling import get_entities

from jaxrnn.applications.tagging.metrics import count_spans, scores
from jaxrnn.applications.tagging.schemes import Span, find_spans, write_spans

TYPES = ("loc", "per", "two-words")
TAGS = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in TYPES)]


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_the_spans_of_any_tags_are_those_of_seqeval(tags):
    assert find_spans(tags) == [Span(start, end + 1, name) for name, start, end in get_entities(tags)]


def make_tags(rng, scheme, num_tokens):
    spans, position = [], 0
    while position < num_tokens:
        length = int(rng.integers(1, 4))
        if rng.random() < 0.5 and position + length <= num_tokens:
            spans.append(Span(position, position + length, str(rng.choice(TYPES))))
        position += length
    return write_spans(spans, num_tokens, scheme)


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "BIOES"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_those_of_seqeval(scheme, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 20, 40)
    true = [make_tags(rng, scheme, length) for length in lengths]
    predicted = [
        [tag if rng.random() < 0.8 else other for tag, other in zip(tags, make_tags(rng, scheme, length), strict=True)]
        for tags, length in zip(true, lengths, strict=True)
    ]  # mixed tag by tag: many of the predictions contradict the scheme
    counts = sum(count_spans(find_spans(t), find_spans(p), TYPES) for t, p in zip(true, predicted, strict=True))
    report = classification_report(true, predicted, output_dict=True, zero_division=0)
    for name, part in (*zip(TYPES, counts, strict=True), ("micro avg", counts)):
        row = report[name]
        assert scores(part) == pytest.approx((row["precision"], row["recall"], row["f1-score"]), abs=1e-12)
        assert part.reshape(-1, 3).sum(0)[0] == row["support"]
        assert 0.2 < row["f1-score"] < 0.8


def test_counts_of_one_sentence():
    true = [Span(0, 2, "per"), Span(3, 4, "loc"), Span(5, 6, "loc")]
    predicted = [Span(0, 2, "per"), Span(3, 4, "per"), Span(5, 7, "loc")]
    np.testing.assert_array_equal(count_spans(true, predicted, TYPES), [[2, 1, 0], [1, 2, 1], [0, 0, 0]])


def test_scores_where_nothing_was_counted():
    assert all(math.isnan(score) for score in scores(np.zeros((2, 3))))
    precision, recall, f1 = scores(np.array([3, 0, 0]))
    assert math.isnan(precision)
    assert recall == f1 == 0
