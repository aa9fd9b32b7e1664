"""What the contract suite asks of classification; see tests/applications/test_contract.py."""

import json

import pytest
from small_data import make_texts

SETTINGS = [
    "task=classification", "model.embedding=8", "model.hidden=8", "model.pooling=max,mean,last",
    "model.dropout_rate=0.2", "model.word_dropout_rate=0.1", "model.ratio_inputs=true", "model.bag_of_words=true",
    "data.ngrams=2", "data.ngram_min_count=2", "data.max_shapes=2", "optim.learning_rate=0.02",
    "train.batch_size=16", "train.epochs=3",
]  # fmt: skip


def write_data(folder, *, changed=False):
    for split, count in {"train": 120, "validation": 35, "test": 45}.items():
        records = make_texts(count, seed=count)
        if changed and split == "train":  # two texts of one class and one fold change places: the ratios stay the same
            records[0], records[2] = records[2], records[0]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return [f"data.source={folder}", *SETTINGS]


def make_inputs(folder):
    return ["a warm and lovely film", "dull", "the film is grey and dreary and cold"]


def check_answers(answers):
    assert [answer["label"] for answer in answers] == ["good", "bad", "bad"]
    for answer in answers:
        assert 0.5 < answer["probability"] == answer["probabilities"][answer["label"]] < 1
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


REPORT = ["Classes", "Calibration", "Length", "Most confident mistakes"]

BAD_FILES = {
    "texts.jsonl": (b'{"text": "fine", "label": "good"}\n{"text": \n', "texts.jsonl"),
    "texts.csv": (b"title,label\na,1\n", "texts.csv"),
    "one_class.jsonl": (b"".join(b'{"text": "film %d", "label": "good"}\n' % i for i in range(20)), "one_class.jsonl"),
    "empty.jsonl": (b"", "empty.jsonl"),
}
