"""Tag schemes of spans: BIO, IOB1 and BIOES; plain tags, such as parts of speech, belong to none.

A tag of a span is a prefix and a type, as in B-person. The prefixes say where in the span the token stands:

    BIO    B begins a span, I continues it.
    IOB1   I begins and continues a span; B begins one only directly after another span of the same type.
    BIOES  B begins, I continues and E ends a span of several tokens; S is a span of one token.

BIOES is also written with L for E and U for S. O stands outside all spans.

A sequence that contradicts its scheme is read as the evaluation program of CoNLL 2000 reads it (conlleval; Tjong Kim
Sang and Buchholz 2000): a span begins at every B and S, and at an I or E that has nothing to continue, because the tag
before it is O, has another type or has ended its span.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

SchemeName = Literal["plain", "BIO", "IOB1", "BIOES"]
InnerScheme = Literal["plain", "BIOES"]  # of a model's own tags

OUTSIDE = "O"
PREFIXES = {"BIO": "BI", "IOB1": "BI", "BIOES": "BIES"}
_SPAN_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
_ENDING = ("E", "S")
_OTHER_LETTERS = {"L": "E", "U": "S"}


class Span(NamedTuple):
    """The tokens from `start` to before `end`, and what they are."""

    start: int
    end: int
    type: str


def recognise_scheme(sentences: Iterable[Sequence[str]]) -> SchemeName:
    """Returns the scheme that the tags of these sentences are written in.

    Tags are plain unless each is O or a prefix and a type. Of the schemes with B and I alone, it is IOB1 if more spans
    begin with I than with B where both schemes would differ, which is not directly after a span of the same type.
    """
    sentences = list(sentences)
    tags = {tag for sentence in sentences for tag in sentence}
    prefixes = {split_tag(tag)[0] for tag in tags} - {OUTSIDE}
    if not prefixes or any(tag != OUTSIDE and not _SPAN_TAG.fullmatch(tag) for tag in tags):
        return "plain"
    if not prefixes <= {"B", "I"}:
        return "BIOES"
    first_prefixes = [
        split_tag(sentence[span.start])[0]
        for sentence in sentences
        for span, follows_same in _with_neighbour(find_spans(sentence))
        if not follows_same
    ]
    return "IOB1" if first_prefixes.count("I") > first_prefixes.count("B") else "BIO"


def split_tag(tag: str) -> tuple[str, str]:
    """Returns prefix and type of a tag; those of O are O and an empty type. L is returned as E, and U as S."""
    match = _SPAN_TAG.fullmatch(tag)
    if match is None:
        return OUTSIDE, ""
    return _OTHER_LETTERS.get(match[1], match[1]), match[2]


def find_spans(tags: Sequence[str]) -> list[Span]:
    """Returns the spans of a sentence, in order, whichever scheme its tags are written in."""
    spans: list[Span] = []
    start, last_prefix, last_type = 0, OUTSIDE, ""
    for position, tag in enumerate([*tags, OUTSIDE]):
        prefix, span_type = split_tag(tag)
        continues = prefix in ("I", "E") and span_type == last_type and last_prefix not in (OUTSIDE, *_ENDING)
        if not continues:
            if last_prefix != OUTSIDE:
                spans.append(Span(start, position, last_type))
            start = position
        last_prefix, last_type = prefix, span_type
    return spans


def write_spans(spans: Iterable[Span], num_tokens: int, scheme: SchemeName) -> list[str]:
    """Returns the tags of a sentence with these spans.

    Args:
      spans: Spans that do not overlap, in order.
      num_tokens: Length of the sentence.
      scheme: Scheme of the tags; not "plain".

    Raises:
      ValueError: The scheme is "plain", whose tags have no spans.
    """
    if scheme == "plain":
        raise ValueError("scheme: expected BIO, IOB1 or BIOES, got 'plain'")
    tags = [OUTSIDE] * num_tokens
    for span, follows_same in _with_neighbour(spans):
        length = span.end - span.start
        prefixes = ["B"] + ["I"] * (length - 1)
        if scheme == "IOB1" and not follows_same:
            prefixes[0] = "I"
        if scheme == "BIOES":
            prefixes[-1] = "E" if length > 1 else "S"
        tags[span.start : span.end] = [f"{prefix}-{span.type}" for prefix in prefixes]
    return tags


def convert(tags: Sequence[str], source: SchemeName, target: SchemeName) -> tuple[list[str], int]:
    """Rewrites the tags of a sentence in another scheme.

    Args:
      tags: Tags of the sentence.
      source: Scheme that they are written in. Plain tags stay as they are.
      target: Scheme to return them in.

    Returns:
      The tags, and the number of given tags that contradict their own scheme and were repaired on the way.
    """
    if source == "plain":
        return list(tags), 0
    spans = find_spans(tags)
    repaired = write_spans(spans, len(tags), source)
    num_repaired = sum(split_tag(before) != split_tag(after) for before, after in zip(tags, repaired, strict=True))
    return write_spans(spans, len(tags), target), num_repaired


class Legal(NamedTuple):
    """What a scheme allows.

    Attributes:
      transitions: bool [tags, tags], whether the second tag may follow the first.
      first: bool [tags], whether a sentence may begin with the tag.
      last: bool [tags], whether a sentence may end with the tag.
    """

    transitions: np.ndarray
    first: np.ndarray
    last: np.ndarray


def legal_transitions(tags: Sequence[str], scheme: InnerScheme) -> Legal:
    """Returns which of these tags may follow each other.

    Args:
      tags: Tags of a model, in the order of their numbers.
      scheme: Scheme that they are written in; "plain" allows everything.
    """
    if scheme == "plain":
        return Legal(np.ones((len(tags), len(tags)), bool), np.ones(len(tags), bool), np.ones(len(tags), bool))
    transitions = [[_may_follow(before, after) for after in tags] for before in tags]
    first = [_may_follow(OUTSIDE, tag) for tag in tags]
    last = [_may_follow(tag, OUTSIDE) for tag in tags]
    return Legal(np.array(transitions), np.array(first), np.array(last))


def _may_follow(before: str, after: str) -> bool:
    (prefix, span_type), (next_prefix, next_type) = split_tag(before), split_tag(after)
    is_open, continues = prefix in ("B", "I"), next_prefix in ("I", "E")
    return is_open == continues and (not is_open or span_type == next_type)


def _with_neighbour(spans: Iterable[Span]) -> Iterable[tuple[Span, bool]]:
    """Returns each span, and whether it directly follows another of its type."""
    end, span_type = -1, ""
    for span in spans:
        yield span, span.start == end and span.type == span_type
        end, span_type = span.end, span.type
