"""Tag schemes: recognition, spans, conversion, repair, legal transitions."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrnn.applications.tagging.schemes import (
    Span,
    convert,
    find_spans,
    legal_transitions,
    recognise_scheme,
    split_tag,
    write_spans,
)

SCHEMES = ("BIO", "IOB1", "BIOES")
TYPES = ("X", "two-words")


@st.composite
def sentences_of_spans(draw):
    """A number of tokens and spans in it, many of them neighbours of one type."""
    spans, position = [], 0
    for gap, length, name in draw(
        st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.sampled_from(TYPES)), max_size=6)
    ):
        spans.append(Span(position + gap, position + gap + length, name))
        position += gap + length
    return spans, position + draw(st.integers(0, 2))


@given(sentences_of_spans(), st.sampled_from(SCHEMES), st.sampled_from(SCHEMES))
def test_conversion_keeps_the_spans_and_repairs_nothing_of_good_tags(sentence, source, target):
    spans, num_tokens = sentence
    tags, num_repaired = convert(write_spans(spans, num_tokens, source), source, target)
    assert tags == write_spans(spans, num_tokens, target)
    assert find_spans(tags) == spans
    assert num_repaired == 0


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("BIO", ["B-X", "I-X", "I-X", "B-X", "O", "B-Y"]),
        ("IOB1", ["I-X", "I-X", "I-X", "B-X", "O", "I-Y"]),
        ("BIOES", ["B-X", "I-X", "E-X", "S-X", "O", "S-Y"]),
    ],
)
def test_the_same_spans_in_each_scheme(scheme, tags):
    spans = [Span(0, 3, "X"), Span(3, 4, "X"), Span(5, 6, "Y")]
    assert write_spans(spans, 6, scheme) == tags
    assert find_spans(tags) == spans
    assert recognise_scheme([tags]) == scheme


@pytest.mark.parametrize(
    ("scheme", "tags", "repaired", "num_repaired"),
    [
        ("BIO", ["O", "I-X", "I-X", "O"], ["O", "B-X", "I-X", "O"], 1),
        ("BIO", ["B-X", "I-Y", "I-Y"], ["B-X", "B-Y", "I-Y"], 1),
        ("BIO", ["I-X", "I-Y"], ["B-X", "B-Y"], 2),
        ("IOB1", ["O", "B-X", "I-X", "B-X"], ["O", "I-X", "I-X", "B-X"], 1),
        ("BIOES", ["B-X", "O", "I-X", "E-X"], ["S-X", "O", "B-X", "E-X"], 2),
        ("BIOES", ["S-X", "I-X"], ["S-X", "S-X"], 1),
        ("BIOES", ["B-X", "E-Y"], ["S-X", "S-Y"], 2),
    ],
)
def test_contradictions_are_repaired_and_counted(scheme, tags, repaired, num_repaired):
    assert convert(tags, scheme, scheme) == (repaired, num_repaired)


def test_bilou_is_bioes_in_other_letters():
    tags = ["B-X", "I-X", "L-X", "O", "U-X"]
    assert recognise_scheme([tags]) == "BIOES"
    assert convert(tags, "BIOES", "BIOES") == (["B-X", "I-X", "E-X", "O", "S-X"], 0)


@given(sentences_of_spans(), st.sampled_from(SCHEMES))
def test_a_scheme_is_recognised_from_telling_tags(sentence, scheme):
    spans, num_tokens = sentence
    telling = [Span(0, 1, "X"), Span(2, 4, "X"), Span(4, 5, "X")]
    sentences = [write_spans(telling, 5, scheme), write_spans(spans, num_tokens, scheme)]
    assert recognise_scheme(sentences) == scheme


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        ([["NOUN", "VERB"], ["X"]], "plain"),
        ([["O", "O"]], "plain"),
        ([["B-X", "NOUN"]], "plain"),
        ([[]], "plain"),
        ([["O", "B-X", "I-X"], ["I-X", "O"], ["B-X"]], "BIO"),  # the I-X that begins a span contradicts the others
        ([["S-X"]], "BIOES"),
    ],
)
def test_recognised_schemes(sentences, scheme):
    assert recognise_scheme(sentences) == scheme


def test_legal_sequences_are_those_that_need_no_repair():
    tags = ["O", *(f"{prefix}-{name}" for prefix in "BIES" for name in TYPES)]
    legal = legal_transitions(tags, "BIOES")
    num_legal = 0
    for numbers in product(range(len(tags)), repeat=3):
        is_legal = bool(legal.first[numbers[0]] and legal.last[numbers[-1]])
        is_legal &= all(legal.transitions[pair] for pair in pairwise(numbers))
        path = [tags[number] for number in numbers]
        assert is_legal == (convert(path, "BIOES", "BIOES")[1] == 0), path
        num_legal += is_legal
    assert num_legal == 41  # 3^3 of O and S; 2 * 2 * 3 of B E beside one of these; 2 of B I E


def test_plain_tags_may_follow_in_any_order():
    assert all(part.all() for part in legal_transitions(["NOUN", "VERB", "O"], "plain"))
    assert convert(["NOUN", "I-X"], "plain", "plain") == (["NOUN", "I-X"], 0)
    with pytest.raises(ValueError, match="expected BIO, IOB1 or BIOES"):
        write_spans([], 2, "plain")


def test_a_tag_is_split_at_its_first_hyphen():
    assert split_tag("B-creative-work") == ("B", "creative-work")
    assert split_tag("O") == split_tag("NOUN") == ("O", "")
