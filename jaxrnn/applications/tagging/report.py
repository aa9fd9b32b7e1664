"""A tagger's part of a report: how well each type is found, and what is confused with what."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from jaxrnn.applications.base import Trained
from jaxrnn.applications.tagging.data import TaggedExamples, TaggingAssets
from jaxrnn.applications.tagging.metrics import Scores, scores
from jaxrnn.applications.tagging.schemes import split_tag
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
    counts = evaluation.sums["spans"] if assets.has_spans else count_tags(true, predicted, assets.all_tags)
    names = assets.types if assets.has_spans else assets.all_tags
    rows = [Row(name, of_name.tolist(), scores(of_name)) for name, of_name in zip(names, counts, strict=True)]
    confusions = count_confusions([sentence.tokens for sentence in examples.sentences], true, predicted, assets)
    return [
        Section(
            "Types" if assets.has_spans else "Tags",
            render(
                "types.html", package=package, rows=[row for row in rows if any(row.counts)], has_spans=assets.has_spans
            ),
        ),
        Section("Confusions", render("confusions.html", package=package, confusions=confusions)),
    ]


def count_tags(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """How many tokens have each tag, how many are given it, and how many of these rightly, int64 `[tags, 3]`."""
    rows = {name: row for row, name in enumerate(names)}
    counts = np.zeros((len(names), 3), np.int64)
    for t, p in zip(chain.from_iterable(true), chain.from_iterable(predicted), strict=True):
        counts[rows[t], 0] += 1
        counts[rows[p], 1] += 1
        counts[rows[t], 2] += t == p
    return counts


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
