"""From sentences to examples: splits, the tags of the model, repaired tags and tags that training has not seen."""

import dataclasses

import numpy as np
import pytest

from jaxrnn.applications import load_config
from jaxrnn.applications.tagging.data import UNSEEN, TaggingAssets, load_examples, prepare
from jaxrnn.applications.tagging.task import tagging
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError

NAMES = "Ada\tB-per\nKing\tI-per\nand\tO\nAda\tB-per\n\nLondon\tB-loc\n\n"


@pytest.fixture
def make_config(tmp_path):
    """Writes a folder of files, and returns a config that reads it."""

    def make(files, *settings):
        folder = tmp_path / "data"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
        return load_config(None, ["task=tagging", f"data.source={folder}", *settings])

    return make


def of_spans(*types):
    return TaggingAssets(
        "BIO", ("O", *(f"{prefix}-{name}" for name in types for prefix in "BIES")), *(Vocabulary([]) for _ in range(3))
    )


def test_words_shapes_characters_and_tags_have_numbers(make_config):
    data = prepare(make_config({"train.conll": NAMES, "dev.conll": NAMES, "test.conll": NAMES}))
    assets = data.assets
    assert assets.scheme == "BIO"
    assert assets.types == ("loc", "per", UNSEEN)
    # All tags of each type, also those that training does not have, so that no span of a known type is impossible.
    assert assets.tags == ("B-loc", "B-per", "E-loc", "E-per", "I-loc", "I-per", "O", "S-loc", "S-per")
    assert assets.words.words == ("ada",)  # the only word that occurs data.min_count = 2 times
    assert assets.shapes.words == ("Xxx",)
    assert assets.characters.words[:2] == ("d", "n")
    assert len(data.train) == 2
    example = data.train[0]
    assert [assets.tags[number] for number in example["tags"]] == ["B-per", "E-per", "O", "S-per"]
    assert example["words"].tolist() == [2, 0, 0, 2]
    assert [assets.shapes.tokens[number] for number in example["shapes"]] == ["Xxx", "Xxx", "<unk>", "Xxx"]
    assert example["characters"].shape == (4, 20)
    assert "vectors" not in example


def test_a_model_without_trained_vectors_of_words_has_no_vocabulary(make_config):
    config = make_config({f"{split}.conll": NAMES for split in ("train", "dev", "test")}, "model.word_features=0")
    assert prepare(config).assets.words.words == ()


def test_missing_splits_are_made_the_same_way_each_time(make_config):
    text = "".join(f"word{number}\tA\nend\tB\n\n" for number in range(50))
    config = make_config({"train.conllu.txt": text + "word0\tA\nend\tB\n"})
    data = prepare(config)
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 10)  # without the copy
    again = load_examples(config, data.assets, None, "test")
    assert again.fingerprint == data.test.fingerprint
    words = [{sentence.tokens[0] for sentence in examples.sentences} for examples in data[1:]]
    assert len(set.union(*words)) == 50


def test_tags_of_another_split_that_training_has_not_seen_are_named_and_repaired_ones_counted(make_config, log):
    test = "Ada\tI-per\nin\tO\nParis\tB-city\nFrance\tI-city\n\nit\tX\n"
    data = prepare(make_config({"train.conll": NAMES, "dev.conll": NAMES, "test.conll": test}))
    assert (
        "1 of 5 tags in test contradict the scheme BIO, such as I-X without a B-X before, and were repaired" in log.text
    )
    assert (
        "3 of 5 tags in test were never seen in training and count as wrong: B-city (1), I-city (1), X (1)" in log.text
    )
    assert log.text.count("never seen") == 1
    assets = data.assets
    tags = [[assets.all_tags[number] for number in data.test[i]["tags"]] for i in range(2)]
    assert tags == [["S-per", "O", f"B-{UNSEEN}", f"E-{UNSEEN}"], [f"S-{UNSEEN}"]]
    # A model that gives no tag to them misses spans, and one that gives them a known type is wrong twice.
    score = tagging(assets).score
    outside = assets.outside
    spans = score(data.test[0], np.full(4, outside))["spans"]
    np.testing.assert_array_equal(spans, [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    spans = score(data.test[1], np.array([assets.tags.index("S-loc")]))["spans"]
    np.testing.assert_array_equal(spans, [[0, 1, 0], [0, 0, 0], [1, 0, 0]])


def test_plain_tags_that_training_has_not_seen(make_config, log):
    train = "a\tDET\ncat\tNOUN\n"
    data = prepare(make_config({"train.conll": train, "dev.conll": train, "test.conll": "oh\tINTJ\ncat\tNOUN\n"}))
    assert data.assets.all_tags == ("DET", "NOUN", UNSEEN)
    assert data.test[0]["tags"].tolist() == [2, 1]
    assert "1 of 2 tags in test were never seen in training and count as wrong: INTJ (1)" in log.text
    assert data.assets.types == ()
    assert data.assets.outside is None


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "BIOES"])
def test_known_tags_are_numbered_whatever_the_scheme(scheme):
    given = {"BIO": ["B-x", "I-x", "B-x"], "IOB1": ["I-x", "I-x", "B-x"], "BIOES": ["B-x", "E-x", "S-x"]}[scheme]
    assets = dataclasses.replace(of_spans("x"), scheme=scheme)
    numbers, num_repaired = assets.number(given)
    assert [assets.tags[number] for number in numbers] == ["B-x", "E-x", "S-x"]
    assert num_repaired == 0


def test_another_source_is_read_by_split_or_whole(make_config, tmp_path):
    config = make_config({"train.conll": NAMES, "dev.conll": NAMES, "test.conll": "Ada\tB-per\n"})
    assets = prepare(config).assets
    assert [len(load_examples(config, assets, None, split)) for split in ("train", "test")] == [2, 1]
    (tmp_path / "other.tsv").write_text("Ada\tB-per\n\n" * 3)
    assert len(load_examples(config, assets, str(tmp_path / "other.tsv"), "test")) == 3


def test_a_source_without_training_sentences_is_refused(make_config):
    with pytest.raises(InputError, match=r"has no train split, only validation; add one"):
        prepare(make_config({"dev.conll": NAMES}))


@pytest.mark.parametrize(
    "content",
    ["[]", '{"scheme": "BIO"}', '{"scheme": "BIO", "tags": ["B-x", "I-x"]}', '{"scheme": "plain", "tags": ["A", "A"]}',
     '{"scheme": "XYZ", "tags": ["A", "B"]}', '{"scheme": "plain", "tags": [1, 2]}'],
)  # fmt: skip
def test_damaged_tags_are_named(tmp_path, content):
    of_spans("x").save(tmp_path)
    assert TaggingAssets.load(tmp_path) == of_spans("x")
    (tmp_path / "tags.json").write_text(content)
    with pytest.raises(InputError, match=r"tags.json: expected a scheme and a list of two or more tags"):
        TaggingAssets.load(tmp_path)
