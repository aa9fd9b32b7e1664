"""Where tagged sentences come from: files, folders, tables, the Hub and a package; and what is said of bad ones."""

import gzip
import importlib.metadata
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from jaxrnn.applications.tagging import sources
from jaxrnn.applications.tagging.config import TaggingDataConfig
from jaxrnn.errors import InputError

COLUMNS = "Ada\tB-PER\nsleeps\tO\n\nHi\tO\n"
CONLLU = "# sent_id = 1\n1\tAda\tAda\tPROPN\tNNP\t_\t2\tnsubj\t_\t_\n2\tsleeps\tsleep\tVERB\tVBZ\t_\t0\troot\t_\t_\n"
TOKENS, TAGS = [["Ada", "sleeps"], ["Hi"]], [["B-PER", "O"], ["O"]]
ROWS = "".join(json.dumps({"tokens": t, "tags": y}) + "\n" for t, y in zip(TOKENS, TAGS, strict=True))


def read(source, **settings):
    """Tokens and tags of the sentences of each split."""
    splits = sources.read_splits(TaggingDataConfig(**settings), str(source))
    return {
        split: ([list(each.tokens) for each in part.sentences], [list(each.tags) for each in part.sentences])
        for split, part in splits.items()
    }


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a", "a.conll.gz", "a.jsonl", "a.jsonl.gz"])
def test_a_file_is_read_by_what_its_name_ends_in(tmp_path, name):
    content = (ROWS if "jsonl" in name else COLUMNS).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read(tmp_path / name) == {"train": (TOKENS, TAGS)}


def test_conllu_has_named_columns(tmp_path):
    path = tmp_path / "a.conllu.gz"
    path.write_bytes(gzip.compress(CONLLU.encode()))
    assert read(path) == {"train": ([["Ada", "sleeps"]], [["PROPN", "VERB"]])}
    assert read(path, tag_column="xpos") == {"train": ([["Ada", "sleeps"]], [["NNP", "VBZ"]])}


def test_columns_have_numbers(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("1 Ada NNP B-PER\n2 sleeps VBZ O\n")
    assert read(path, token_column="2") == {"train": ([["Ada", "sleeps"]], [["B-PER", "O"]])}
    assert read(path, token_column="2", tag_column="3") == {"train": ([["Ada", "sleeps"]], [["NNP", "VBZ"]])}


NAMED = datasets.Features(
    {"words": datasets.List(datasets.Value("string")), "ner": datasets.List(datasets.ClassLabel(names=["O", "B-PER"]))}
)


def test_parquet_with_the_columns_of_its_own(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"words": TOKENS, "ner": [[1, 0], [0]]}), path)
    columns = {"token_column": "words", "tag_column": "ner"}
    assert read(path, **columns) == {"train": (TOKENS, [["1", "0"], ["0"]])}  # numbers without names
    datasets.Dataset.from_dict({"words": TOKENS, "ner": [[1, 0], [0]]}, NAMED).to_parquet(path)
    assert read(path, **columns) == {"train": (TOKENS, TAGS)}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train.conll", "dev.conll", "test.conll"),
        ("wnut17train.conll", "emerging.dev.conll", "emerging.test.conll.gz"),
        ("eng.train", "eng.testa", "eng.testb"),  # CoNLL 2003
        ("train.txt", "valid.txt", "test.txt"),
    ],
)
def test_the_names_of_a_folders_files_say_their_split(tmp_path, train, validation, test):
    for name, token in ((train, "a"), (validation, "b"), (test, "c")):
        content = f"{token}\tO\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for other in ("README.md", "LICENSE.txt", "train-scores.csv", "train-test.conll"):  # no split, or not one of tags
        (tmp_path / other).write_text("x")
    found = {split: tokens for split, (tokens, _) in read(tmp_path).items()}
    assert found == {"train": [["a"]], "validation": [["b"]], "test": [["c"]]}


def test_a_folder_of_a_treebank(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"en_ewt-ud-{split}.conllu").write_text(CONLLU)
        (tmp_path / f"en_ewt-ud-{split}.md").write_text("x")
    assert read(tmp_path).keys() == {"train", "validation", "test"}


def test_a_data_set_of_the_hub(monkeypatch):
    tables = {
        split: datasets.Dataset.from_dict({"words": TOKENS, "ner": [[1, 0], [0]]}, NAMED)
        for split in ("train", "validation", "unsupervised")
    }
    monkeypatch.setattr(sources, "load_hub", lambda name, instead: {"someone/names": tables}[name])
    found = read("someone/names", token_column="words", tag_column="ner")
    assert found == {"train": (TOKENS, TAGS), "validation": (TOKENS, TAGS)}
    with pytest.raises(
        InputError, match=r"someone/names \(train split\): the column 'tokens' is missing, found words, n"
    ):
        read("someone/names")
    tables["train"] = datasets.Dataset.from_dict({"words": TOKENS, "ner": [[1, 0], [-1]]}, NAMED)
    with pytest.raises(InputError, match=r"row 2: expected tags from 0 to 1, found -1; leave the row out"):
        read("someone/names", token_column="words", tag_column="ner")


def test_the_package_of_the_default_config():
    try:
        importlib.metadata.distribution(sources.BUILT_IN)
    except importlib.metadata.PackageNotFoundError:
        with pytest.raises(InputError, match=r"not installed; run: pip install 'jaxrnn\[tagging\]'"):
            read(sources.BUILT_IN)
        pytest.skip("its package is not installed")
    (tokens, tags) = read(sources.BUILT_IN)["train"]
    assert len(tokens) == 4851
    assert {"NOUN", "VERB", "ONOM"} < {tag for sentence in tags for tag in sentence}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.jsonl: expected sentences, found no tokens"),
        (ROWS + "{\n", "a.jsonl:3: expected a JSON object"),
        (ROWS + "\n[]\n", "a.jsonl:4: expected a JSON object, found list"),
        (
            '{"tokens": ["a"], "ner": ["O"]}',
            "a.jsonl:1: the column 'tags' is missing, found tokens, ner; name the tags'",
        ),
        ('{"tokens": ["a"], "tags": []}', "a.jsonl:1: expected a tag for each token, found 1 tokens and 0 tags"),
        ('{"tokens": "a", "tags": ["O"]}', "a.jsonl:1: expected a list of tokens, found 'a'"),
        ('{"tokens": [""], "tags": ["O"]}', "a.jsonl:1: expected a list of tokens"),
        ('{"tokens": ["a"], "tags": [null]}', r"a.jsonl:1: expected a list of tags, found \[None\]"),
        ('{"tokens": ["a"], "tags": [true]}', "a.jsonl:1: expected a list of tags"),
        ('{"tokens": ["\\ud800"], "tags": ["O"]}', "a.jsonl:1: expected a list of tokens"),
        ('{"tokens": ' + "[" * 100_000, "a.jsonl:1: expected a JSON object"),
    ],
)
def test_bad_rows_are_named(tmp_path, content, message):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_strings_that_are_not_utf8_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    column = pyarrow.array([[b"caf\xe9"]]).cast(pyarrow.list_(pyarrow.binary()))
    strings = column.values.view(pyarrow.string())
    tokens = pyarrow.ListArray.from_arrays(column.offsets, strings)
    pyarrow.parquet.write_table(pyarrow.table({"tokens": tokens, "tags": [["O"]]}), path)
    with pytest.raises(InputError, match=r"a.parquet: expected UTF-8"):
        read(path)


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        (["notes.md", "names.conll"], {}, "data: expected files with the split in their names, such as train.conll"),
        (["train.conll", "train.jsonl"], {}, "one file for the train split, found train.conll and train.jsonl"),
        (["dev.conll", "valid.conll"], {}, "one file for the validation split, found dev.conll and valid.conll"),
        (["train.conllu"], {"tag_column": "pos"}, "data.tag_column: expected one of id, form, lemma, upos.*got 'pos'"),
        (["train.conllu"], {"token_column": "form"}, "data.token_column: expected none for .*train.conllu"),
        (["train.conll"], {"tag_column": "upos"}, "data.tag_column: expected the number of a column.*got 'upos'"),
        (["train.conll"], {"token_column": "0"}, "data.token_column: expected the number of a column.*got '0'"),
        (["train.conll"], {"tag_column": "9" * 5000}, "data.tag_column: expected the number of a column"),
        (["train.conll"], {"tag_column": "3"}, "train.conll:1: expected at least 3 columns separated by tabs, found 2"),
    ],
)  # fmt: skip
def test_bad_folders_and_columns_are_named(tmp_path, files, settings, message):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in files:
        (folder / name).write_text(CONLLU if name.endswith(".conllu") else COLUMNS)
    with pytest.raises(InputError, match=message) as caught:
        read(folder, **settings)
    assert "\n" not in str(caught.value)


def test_a_source_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "names.conll")
