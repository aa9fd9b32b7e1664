"""A language model's part of a report: which texts and words are hard to predict, and a text that it wrote."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from jaxrnn.applications.base import Trained
from jaxrnn.applications.language_modelling.data import LanguageAssets, TextExamples
from jaxrnn.applications.language_modelling.generate import write_text
from jaxrnn.applications.language_modelling.predict import scores_of
from jaxrnn.data.text import Vocabulary
from jaxrnn.training import Evaluation
from jaxrnn.views import Section, draw_chart, render
from jaxrnn.views.charts import FIRST

NUM_TEXTS = 5  # of the hardest and of the easiest texts
NUM_CHARACTERS = 160  # that are shown of each of them
SAMPLE = {"tokens": 80, "temperature": 1.0, "top_k": None, "top_p": 0.9, "seed": 0}


def make_sections(trained: Trained, examples: TextExamples, evaluation: Evaluation) -> list[Section]:
    """The sections "Perplexity" and "A sample".

    Args:
      trained: The model.
      examples: The texts of a split.
      evaluation: Its outputs: the log-probabilities of each text's words.
    """
    package = "jaxrnn.applications.language_modelling"
    scores = scores_of(list(map(_beginning, examples.texts)), evaluation.outputs)
    by_loss = sorted(scores, key=lambda score: score.loss)
    losses = -np.concatenate(evaluation.outputs).astype(np.float64)
    targets = np.concatenate([tokens[1:] for tokens in examples.tokens])
    places = np.concatenate([np.arange(1, len(log_p) + 1) for log_p in evaluation.outputs])
    tables = [("Hardest texts", by_loss[::-1][:NUM_TEXTS]), ("Easiest texts", by_loss[:NUM_TEXTS])]
    charts = (_draw_by_class(losses, targets, trained.assets), _draw_by_place(losses, places))
    sample = "".join(write_text(trained, "", **SAMPLE))
    return [
        Section("Perplexity", render("perplexity.html", package=package, tables=tables, charts=charts)),
        Section("A sample", render("sample.html", package=package, sample=sample, options=SAMPLE)),
    ]


def loss_by_class(losses: np.ndarray, targets: np.ndarray, assets: LanguageAssets) -> list[tuple[str, float, float]]:
    """The loss of words by their frequency in the training texts.

    Args:
      losses: -log p of each word, `[num_words]`.
      targets: The words' numbers, `[num_words]`. They fall with frequency.
      assets: What the numbers stand for.

    Returns:
      For each class that occurs: its name, the mean loss of its words, and their share of all words. The class "≤ 100"
      has the words of rank 11 to 100.
    """
    classes = {"<end>": targets == assets.end_id, "<unk>": targets == Vocabulary.unknown_id}
    ranks, first = targets - assets.end_id, 1  # the most frequent word has rank 1
    while first < len(assets.vocabulary) - assets.end_id:
        last = max(10 * (first - 1), 10)
        classes[f"≤ {last:,}"] = (ranks >= first) & (ranks <= last)
        first = last + 1
    return [
        (name, float(losses[members].mean()), float(members.mean()))
        for name, members in classes.items()
        if members.any()
    ]


def loss_by_place(losses: np.ndarray, places: np.ndarray) -> list[tuple[float, float]]:
    """The loss of words by their place in the text, in bins that double in width.

    Args:
      losses: -log p of each word, `[num_words]`.
      places: The words' places in their texts, from 1, `[num_words]`.

    Returns:
      The mean place and the mean loss of the words in each bin.
    """
    bins = np.log2(places).astype(int)
    members = [bins == number for number in range(bins.max() + 1)]
    return [(float(places[each].mean()), float(losses[each].mean())) for each in members if each.any()]


def _draw_by_class(losses: np.ndarray, targets: np.ndarray, assets: LanguageAssets) -> Markup:
    classes = loss_by_class(losses, targets, assets)

    def draw(axes: Axes) -> None:
        names = [f"{name}\n{100 * share:.0f} %" for name, _, share in classes]
        axes.bar(names, [loss for _, loss, _ in classes], color=FIRST, width=0.7)
        axes.set(ylabel="nats")
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(visible=False, axis="x")

    return draw_chart("Mean loss by how frequent the word is", draw)


def _draw_by_place(losses: np.ndarray, places: np.ndarray) -> Markup:
    points: Sequence[tuple[float, float]] = loss_by_place(losses, places)

    def draw(axes: Axes) -> None:
        axes.plot(*zip(*points, strict=True), color=FIRST, linewidth=1.4, marker="o", markersize=4)
        axes.set(xlabel="place in the text", ylabel="nats", xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")

    return draw_chart("Mean loss by the word’s place in its text", draw)


def _beginning(text: str) -> str:
    text = " ".join(text[: 2 * NUM_CHARACTERS].split())
    return text if len(text) <= NUM_CHARACTERS else f"{text[:NUM_CHARACTERS]}…"
