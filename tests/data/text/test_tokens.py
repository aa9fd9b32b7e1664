import logging

import pytest

from jaxrnn.data.text import tokenize, tokenize_with_spaces
from jaxrnn.data.text import tokens as tokens_module

TEXTS = ["I don't like it, Mr. Smith.", "", "naïve  café\nA\u2028B", "I don't"]
TOKENS = [
    ["I", "do", "n't", "like", "it", ",", "Mr.", "Smith", "."],
    [],
    ["naïve", " ", "café", "\n", "A", "\u2028", "B"],
    ["I", "do", "n't"],
]


@pytest.fixture
def count_cuts(monkeypatch):
    calls = []
    cut = tokens_module._cut
    monkeypatch.setattr(tokens_module, "_cut", lambda *args: (calls.append(args), cut(*args))[1])
    return calls


def test_tokens():
    assert tokenize(TEXTS, cache_dir=None) == TOKENS
    assert tokenize(TEXTS[:1], lowercase=True, cache_dir=None) == [[token.lower() for token in TOKENS[0]]]


def test_tokens_with_the_spaces_between_them_are_the_text():
    for text, pairs, tokens in zip(TEXTS, tokenize_with_spaces(TEXTS), TOKENS, strict=True):
        assert "".join(token + space for token, space in pairs) == text
        assert [token for token, _ in pairs] == tokens


def test_lone_surrogates_become_question_marks():
    assert tokenize(["a \ud800 b"], cache_dir=None) == [["a", "?", "b"]]


def test_second_call_takes_the_cache(tmp_path, count_cuts):
    folder = tmp_path / "not" / "there"
    assert tokenize(TEXTS, cache_dir=folder) == TOKENS
    assert tokenize(TEXTS, cache_dir=folder) == TOKENS
    assert len(count_cuts) == 1


def test_a_cache_that_is_not_to_be_kept_is_not_written(tmp_path):
    assert tokenize(TEXTS, cache_dir=tmp_path, keep=False) == TOKENS
    assert list(tmp_path.iterdir()) == []


def test_cache_key_holds_texts_flag_and_version(tmp_path, count_cuts, monkeypatch):
    tokenize(["ab", "c"], cache_dir=tmp_path)
    assert tokenize(["a", "bc"], cache_dir=tmp_path) == [["a"], ["bc"]]
    assert tokenize(["AB", "c"], lowercase=True, cache_dir=tmp_path) == [["ab"], ["c"]]
    assert tokenize(["AB", "c"], cache_dir=tmp_path) == [["AB"], ["c"]]
    monkeypatch.setattr(tokens_module.importlib.metadata, "version", lambda name: "0.0")
    tokenize(["ab", "c"], cache_dir=tmp_path)
    assert len(count_cuts) == 5


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_cache_is_rebuilt(tmp_path, count_cuts, caplog, damage):
    tokenize(TEXTS, cache_dir=tmp_path)
    (path,) = tmp_path.glob("*/*.arrow")
    content = bytearray(path.read_bytes())
    content[content.index(b"like")] ^= 1  # "mike": only the checksum can tell
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with caplog.at_level(logging.WARNING, "jaxrnn"):
        assert tokenize(TEXTS, cache_dir=tmp_path) == TOKENS
    assert "damaged" in caplog.text
    assert tokenize(TEXTS, cache_dir=tmp_path) == TOKENS
    assert len(count_cuts) == 2
    assert len(list(tmp_path.iterdir())) == 1  # nothing half-written is left


def test_cache_that_cannot_be_written(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert tokenize(TEXTS, cache_dir=tmp_path / "file" / "cache") == TOKENS
    assert "could not be kept" in caplog.text
