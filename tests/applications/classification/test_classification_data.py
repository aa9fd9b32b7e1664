"""From texts to examples, and the assets of a run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jaxrnn.applications import load_config
from jaxrnn.applications.classification.data import ClassificationAssets, encode, load_examples, prepare
from jaxrnn.applications.classification.ngrams import NGrams
from jaxrnn.applications.classification.ratios import NUM_FOLDS, folds_of, log_count_ratios
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError

TEXTS = {
    "train": [("Good film , good", "good"), ("bad Film", "bad"), ("good", "good"), ("a bad film", "bad")] * 6,
    "validation": [("good", "good"), ("bad", "bad")],
    "test": [("a long and very bad film", "bad"), ("", "good")],
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for split, texts in TEXTS.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in texts]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def make_config(source, tmp_path):
    return lambda *settings: load_config(None, [f"data.source={source}", f"data.cache_dir={tmp_path}", *settings])


WITH_RATIOS = ("model.bag_of_words=true", "data.ngrams=2", "data.ngram_min_count=2", "data.max_tokens=3")


def test_words_and_labels_have_numbers(make_config):
    data = prepare(make_config("data.min_count=2"))
    assert data.assets.label_names == ("bad", "good")
    assert data.assets.vocabulary.words == (
        "film",
        "good",
        "bad",
        ",",
        "a",
    )  # of equally frequent ones the alphabet decides
    assert data.assets.ratios is None
    assert not len(data.assets.ngrams)
    assert data.train.columns.keys() == {"tokens", "label"}
    assert data.train[0]["tokens"].tolist() == [3, 2, 5, 3]
    assert data.train.columns["label"].tolist() == [1, 0, 1, 0] * 6
    assert [ids.tolist() for ids in data.test.columns["tokens"].values] == [[6, 0, 0, 0, 4, 2], []]


def test_case_matters_only_where_it_is_kept(make_config):
    assert "Good" in prepare(make_config("data.lowercase=false")).assets.vocabulary


def test_ratios_and_ngrams_come_with_rows_and_folds(make_config):
    config = make_config(*WITH_RATIOS)
    data = prepare(config)
    vocabulary, ngrams, ratios = data.assets.vocabulary, data.assets.ngrams, data.assets.ratios
    assert ngrams.longest == 2
    rows, folds = data.train.columns["rows"].values, data.train.columns["fold"]
    assert (len(rows[0]), rows[0].shape[1]) == (3, 2)  # the text is cut
    assert rows[0][:, 0].tolist() == data.train[0]["tokens"].tolist()
    numbers = {ngram: len(vocabulary) + place for place, ngram in enumerate(ngrams.ngrams, start=1)}
    good, film = (vocabulary.tokens.index(word) for word in ("good", "film"))
    assert rows[0][:2, 1].tolist() == [len(vocabulary), numbers[good, film]]
    np.testing.assert_array_equal(folds, folds_of(data.train.columns["label"]))
    expected = log_count_ratios(
        rows,
        data.train.columns["label"],
        folds,
        num_classes=2,
        num_words=len(vocabulary),
        num_ngrams=len(ngrams),
    )
    np.testing.assert_array_equal(ratios, expected)
    assert "fold" not in data.validation.columns
    assert data.validation.columns["rows"].values[0].shape == (1, 2)


def test_examples_of_the_runs_own_data_are_those_it_was_measured_on(make_config, source):
    config = make_config(*WITH_RATIOS)
    data = prepare(config)
    for split in ("validation", "test"):
        examples = load_examples(config, data.assets, None, split)
        assert examples.fingerprint == getattr(data, split).fingerprint
        assert list(examples.texts) == [text for text, _ in TEXTS[split]]
    assert examples.num_tokens.tolist() == [6, 0]
    assert examples.positions[0].tolist() == [0, 1, 2]
    elsewhere = load_examples(config, data.assets, str(source / "test.jsonl"), "test")  # it is taken whole
    assert elsewhere.fingerprint == data.test.fingerprint


def test_data_with_other_classes_are_refused(make_config):
    config = make_config()
    assets = replace(prepare(config).assets, label_names=("bad", "fine"))
    with pytest.raises(InputError, match=r"has the classes bad, good, and the run bad, fine"):
        load_examples(config, assets, None, "test")


@pytest.mark.parametrize(("part", "expected"), [("head", [0, 1, 2]), ("tail", [3, 4, 5]), ("both", [0, 4, 5])])
def test_a_cut_text_knows_which_tokens_are_left(make_config, part, expected):
    config = make_config("data.max_tokens=3", f"data.truncate={part}", "data.head_fraction=0.4")
    assets = prepare(config).assets
    examples = encode(config, assets, ["a long and very bad film"])
    assert examples.positions[0].tolist() == expected
    ids = assets.vocabulary.encode(["a", "long", "and", "very", "bad", "film"])
    assert examples[0]["tokens"].tolist() == ids[expected].tolist()
    assert examples[0]["label"] == 0


def assets_with(**changes):
    rng = np.random.default_rng(0)
    ratios = rng.normal(size=(NUM_FOLDS + 1, 6, 1)).astype(np.float32)
    parts = {"label_names": ("bad", "gööd"), "vocabulary": Vocabulary(["a", "b"]), "ngrams": NGrams([(2, 3)])}
    return ClassificationAssets(**parts | {"ratios": ratios} | changes)


@pytest.mark.parametrize("changes", [{}, {"ngrams": NGrams(), "ratios": None}])
def test_assets_are_what_was_saved(tmp_path, changes):
    assets = assets_with(**changes)
    assets.save(tmp_path)
    assert ClassificationAssets.load(tmp_path) == assets
    assert (tmp_path / "ratios.safetensors").exists() == ("ratios" not in changes)
    assert (tmp_path / "ngrams.txt").exists() == ("ngrams" not in changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"label_names": ("gööd", "bad")},
        {"vocabulary": Vocabulary(["b", "a"])},
        {"ngrams": NGrams([(3, 2)])},
        {"ratios": np.zeros((NUM_FOLDS + 1, 6, 1), np.float32)},
        {"ratios": None},
    ],
)
def test_assets_differ_where_a_part_does(changes):
    assert assets_with() == assets_with()
    assert assets_with() != assets_with(**changes)


@pytest.mark.parametrize("content", ["[]", '["good"]', "[1, 2]", '{"a": 0}', "", "[" * 100_000])
def test_damaged_labels_are_refused(tmp_path, content):
    assets_with().save(tmp_path)
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(InputError, match=r"labels\.json: expected a list of the names of two or more classes"):
        ClassificationAssets.load(tmp_path)


def test_ngrams_without_a_use_are_refused():
    with pytest.raises(InputError, match=r"data\.ngrams: expected 1 without model\.ratio_inputs"):
        load_config(None, ["data.ngrams=2"])
    assert load_config(None, ["data.ngrams=2", "model.ratio_inputs=true"]).data.ngrams == 2
