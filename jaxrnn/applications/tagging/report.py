"""A tagger's part of a report: how well each type is found, and what is confused with what."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrnn.applications.base import Trained
from jaxrnn.applications.tagging.data import TaggedExamples, TaggingAssets
from jaxrnn.applications.tagging.metrics import Scores, count_spans, scores
from jaxrnn.applications.tagging.schemes import find_spans, split_tag
from jaxrnn.training import Evaluation
from jaxrnn.views import Section, render

NUM_CONFUSIONS = 15
NUM_EXAMPLES = 3  # of each confusion


class Row(NamedTuple):
    """How well a type of span, or a tag, is found.

    Attributes:
      name: The type or tag.
      counts: How many are true, predicted and correct.
      scores: Precision, recall and F1.
    """

    name: str
    counts: Sequence[int]
    scores: Scores


class Confusion(NamedTuple):
    """A tag that tokens have, and another that the model gives them.

    Attributes:
      true: The one.
      predicted: The other.
      num_tokens: How many tokens.
      examples: Some of them.
    """

    true: str
    predicted: str
    num_tokens: int
    examples: Sequence[str]


def make_sections(trained: Trained, examples: TaggedExamples, evaluation: Evaluation) -> list[Section]:
    """The sections "Types" (or "Tags") and "Confusions".

    Args:
      trained: The model.
      examples: The sentences of a split.
      evaluation: Its outputs: the numbers of each sentence's tags.
    """
    assets: TaggingAssets = trained.assets
    package = "jaxrnn.applications.tagging"
    true = [[assets.all_tags[number] for number in examples[i]["tags"]] for i in range(len(examples))]
    predicted = [[assets.all_tags[number] for number in numbers] for numbers in evaluation.outputs]
    rows = score_types(true, predicted, assets)
    confusions = count_confusions([sentence.tokens for sentence in examples.sentences], true, predicted, assets)
    return [
        Section(
            "Types" if assets.has_spans else "Tags",
            render("types.html", package=package, rows=rows, has_spans=assets.has_spans),
        ),
        Section("Confusions", render("confusions.html", package=package, confusions=confusions)),
    ]


def score_types(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], assets: TaggingAssets) -> list[Row]:
    """How well each type of span is found, or where tags are plain each tag; those that do not occur are left out."""
    if assets.has_spans:
        names = assets.types
        pairs = zip(true, predicted, strict=True)
        counts = sum(count_spans(find_spans(t), find_spans(p), names) for t, p in pairs)
    else:
        names = assets.all_tags
        counters = [Counter(), Counter(), Counter()]
        for t, p in ((t, p) for pair in zip(true, predicted, strict=True) for t, p in zip(*pair, strict=True)):
            counters[0][t] += 1
            counters[1][p] += 1
            counters[2][t] += t == p
        counts = np.array([[counter[name] for counter in counters] for name in names])
    rows = [Row(name, each.tolist(), scores(each)) for name, each in zip(names, np.asarray(counts), strict=True)]
    return [row for row in rows if any(row.counts)]


def count_confusions(
    tokens: Sequence[Sequence[str]],
    true: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    assets: TaggingAssets,
) -> list[Confusion]:
    """The most frequent confusions of tokens; of spans, the types are compared and not the prefixes."""
    found: dict[tuple[str, str], list[str]] = {}
    for words, t, p in zip(tokens, true, predicted, strict=True):
        for word, *pair in zip(words, t, p, strict=True):
            names = tuple((split_tag(tag)[1] or tag) if assets.has_spans else tag for tag in pair)
            if names[0] != names[1]:
                found.setdefault((names[0], names[1]), []).append(word)
    most = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:NUM_CONFUSIONS]
    return [
        Confusion(*names, len(words), [word for word, _ in Counter(words).most_common(NUM_EXAMPLES)])
        for names, words in most
    ]
