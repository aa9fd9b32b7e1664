"""Taggers as users train, evaluate and ask them; what the contract suite tests is not repeated here."""

import html
import json

import numpy as np
import pytest

from jaxrnn import applications, evaluate, predict, report, train
from jaxrnn.applications.tagging.data import TaggingAssets
from jaxrnn.applications.tagging.predict import TaggedText, Token, tagged_page
from jaxrnn.applications.tagging.report import count_confusions, count_tags
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError

PARTS = {"the": "DET", "a": "DET", "cat": "NOUN", "dog": "NOUN", "sees": "VERB", "hears": "VERB", ".": "PUNCT"}
SETTINGS = [
    "task=tagging", "model.cell=gru", "model.hidden=8", "model.word_features=8", "model.character_features=4",
    "model.character_hidden=4", "model.decoder=softmax", "model.dropout_rate=0.1", "data.max_shapes=1",
    "data.min_count=1", "optim.learning_rate=0.05", "train.batch_size=8", "train.epochs=2", "devices.per_process=1",
]  # fmt: skip


def make_sentence(rng):
    nouns, determiners = rng.choice(["cat", "dog"], 2), rng.choice(["the", "a"], 2)
    return [
        determiners[0],
        nouns[0],
        rng.choice(["sees", "hears"]),
        determiners[1],
        nouns[1],
        *["."][: rng.integers(2)],
    ]


def to_rows(sentences):
    rows = ({"tokens": list(map(str, tokens)), "tags": [PARTS[token] for token in tokens]} for tokens in sentences)
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    for split, count in {"train": 120, "validation": 20, "test": 20}.items():
        (folder / f"{split}.jsonl").write_text(to_rows(make_sentence(rng) for _ in range(count)))
    return [*SETTINGS, f"data.source={folder}"]


@pytest.fixture(scope="module")
def run_dir(settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([*settings, f"run_dir={path}"]) == 0
    return path


def test_parts_of_speech_are_learnt(run_dir):
    result = json.loads((run_dir / "result.json").read_text())
    assert result["test_accuracy"] > 0.95
    assert {"test_f1", "test_precision"}.isdisjoint(result)
    last = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["accuracy"] == result["validation_accuracy"]


def test_tags_that_training_has_not_seen_are_named_and_count_as_wrong(run_dir, tmp_path, capsys, log):
    path = tmp_path / "new.conll"
    path.write_text("the\tDET\ncat\tNOUN\nsees\tVERB\nwow\tINTJ\n\na\tARTICLE\ndog\tNOUN\n")
    assert evaluate.main([str(run_dir), "--data", str(path), "--json"]) == 0
    assert "2 of 6 tags in test were never seen in training and count as wrong: INTJ (1), ARTICLE (1)" in log.text
    measured = json.loads(capsys.readouterr().out)
    assert measured["num_tokens"] == 6
    assert measured["accuracy"] == pytest.approx(4 / 6)
    assert 0 < measured["loss"] < 1  # of the four tags that the model knows


def test_predict_tags_raw_text_with_its_offsets(run_dir, capsys):
    texts = ["  the cat  sees\tthe dog.", "", " ", "a\u00a0dog\n"]
    assert predict.main([str(run_dir), *texts, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["text"] for answer in answers] == texts
    assert answers[0]["tokens"] == ["the", "cat", "sees", "the", "dog", "."]
    assert answers[0]["tags"] == ["DET", "NOUN", "VERB", "DET", "NOUN", "PUNCT"]
    assert answers[1] == {"text": "", "tokens": [], "tags": []}
    assert answers[2]["tokens"] == []
    assert answers[3]["tokens"] == ["a", "dog"]
    trained = applications.load(run_dir)
    (answer,) = trained.predict(texts[:1])
    for token in answer.tokens:
        assert texts[0][token.start : token.end] == token.text
    assert answer.spans()[1] == {"type": "NOUN", "start": 6, "end": 9, "text": "cat"}


def test_predict_writes_columns(run_dir, capsys, monkeypatch):
    assert predict.main([str(run_dir), "the dog hears"]) == 0
    assert capsys.readouterr().out == "the\tDET\ndog\tNOUN\nhears\tVERB\n\n"
    lines = "-DOCSTART- O\n\nthe\tX\ncat\tX\n\n\na\ndog\n"
    monkeypatch.setattr(predict, "read_lines", lambda: lines.split("\n"))
    assert predict.main([str(run_dir), "--columns"]) == 0
    assert capsys.readouterr().out == "the\tDET\ncat\tNOUN\n\na\tDET\ndog\tNOUN\n\n"
    with pytest.raises(InputError, match="expected sentences, found no tokens"):
        predict.main([str(run_dir), "--columns", ""])


def test_predict_draws_a_page(run_dir, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert predict.main([str(run_dir), "the <b>cat</b> sees", "--html", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    page = path.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "NOUN" in page
    assert "<b>" not in page
    assert "cat" in html.unescape(page)


def test_the_labels_of_a_page_are_escaped(monkeypatch):
    answer = TaggedText("Ada", [Token("Ada", 0)], ["S-<script>"], True)
    monkeypatch.setattr("jaxrnn.applications.tagging.predict.tag_texts", lambda *positional, **options: [answer])
    page = tagged_page(None, ["Ada"])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_report_has_a_row_for_each_tag(run_dir, tmp_path, capsys):
    path = tmp_path / "report.html"
    assert report.main([str(run_dir), "--out", str(path)]) == 0
    page = path.read_text()
    for tag in set(PARTS.values()):
        assert f"<td>{tag}</td>" in page
    assert "(unseen)" not in page


def test_counts_of_tags_and_what_is_confused():
    true, predicted = [["A", "B"], ["A", "C"]], [["A", "A"], ["B", "A"]]
    np.testing.assert_array_equal(count_tags(true, predicted, ["A", "B", "C"]), [[2, 3, 1], [1, 1, 0], [1, 0, 0]])
    empty = Vocabulary([])
    plain, spans = (TaggingAssets(scheme, ("A", "O"), empty, empty, empty) for scheme in ("plain", "BIO"))
    tokens = [["x", "y"], ["z", "y"]]
    assert count_confusions(tokens, true, predicted, plain) == [
        ("A", "B", 1, ["z"]), ("B", "A", 1, ["y"]), ("C", "A", 1, ["y"]),
    ]  # fmt: skip
    true, predicted = [["B-per", "E-per"], ["S-loc", "O"]], [["S-per", "O"], ["O", "O"]]
    assert count_confusions(tokens, true, predicted, spans) == [("loc", "O", 1, ["z"]), ("per", "O", 1, ["y"])]


@pytest.mark.parametrize(
    ("files", "extra", "message"),
    [
        ({"train.conll": "Ada\tB-per\nsleeps\n"}, [], r"train.conll:2: expected at least 2 columns separated by tabs"),
        ({"train.conll": ""}, [], r"train.conll: expected sentences, found no tokens"),
        ({"names.conll": "a\tO\n"}, [], r"expected files with the split in their names"),
        ({"train.conll": "a\tO\n", "train.txt": "a\tO\n"}, [], r"expected one file for the train split"),
        ({"train.jsonl": '{"tokens": ["a"]}'}, [], r"train.jsonl:1: the column 'tags' is missing, found tokens"),
        ({"train.conllu": "x"}, ["data.tag_column=pos"], r"data.tag_column: expected one of id, form, lemma, upos"),
        ({"train.conll": "a\tO\nb\tX\n\n" * 9}, ["vectors.path=VECTORS"], r"vectors.txt.*100 numbers"),
        ({"train.conll": "a\tO\nb\tX\n\n" * 9}, ["model.decoder=hmm"], r"model.decoder: expected one of \"softmax\""),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, files, extra, message):
    folder, run_dir = tmp_path / "data", tmp_path / "run"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    for split in {"dev", "test"} if "VECTORS" in str(extra) else ():
        (folder / f"{split}.conll").write_text(files["train.conll"])
    (tmp_path / "vectors.txt").write_text("a 1 2 3\nb 1 2 3\n")
    extra = [each.replace("VECTORS", str(tmp_path / "vectors.txt")) for each in extra]
    with pytest.raises(InputError, match=message) as caught:
        train.main(["task=tagging", f"data.source={folder}", f"run_dir={run_dir}", *extra])
    assert "\n" not in str(caught.value).strip()
    assert not run_dir.exists() or {each.name for each in run_dir.iterdir()} <= {".lock"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"new.conll: expected sentences, found no tokens"),
        ("the\tDET\ncat\n", r"new.conll:2: expected at least 2 columns"),
    ],
)
def test_bad_files_to_evaluate_are_named(run_dir, tmp_path, content, message):
    path = tmp_path / "new.conll"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate.main([str(run_dir), "--data", str(path)])
