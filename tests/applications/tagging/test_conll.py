"""Parsers of CoNLL columns and CoNLL-U, on good files and bad ones."""

import gzip

import pytest

from jaxrnn.applications.tagging.conll import Sentence, parse_columns, parse_conllu, read_lines
from jaxrnn.errors import InputError

EXPECTED = [Sentence(["Ada", "sleeps"], ["B-PER", "O"]), Sentence(["Hi"], ["O"])]


def columns(text, **options):
    return parse_columns(text.split("\n"), "a.conll", **options)


def conllu(text, **options):
    return parse_conllu(text.split("\n"), "a.conllu", **options)


@pytest.mark.parametrize(
    "text",
    [
        "Ada\tB-PER\nsleeps\tO\n\nHi\tO\n",
        "Ada B-PER\nsleeps O\n\nHi O",
        "Ada  B-PER \r\nsleeps \tO\r\n\r\n\r\nHi O\r\n\r\n",
        "\nAda\tB-PER\nsleeps\tO\n \t\nHi\tO\n",
        "-DOCSTART- O\n\nAda B-PER\nsleeps O\n-DOCSTART- O\nHi O\n",
        "# sent_id = 1\n# text = Ada sleeps\nAda\tB-PER\nsleeps\tO\n\n# newdoc\nHi\tO\n",
        "# id 7 domain=en\nAda B-PER\nsleeps O\n\n# id 8 domain=en\nHi O\n",
    ],
)
def test_columns_in_the_forms_they_are_published_in(text):
    assert columns(text) == EXPECTED


def test_columns_by_number():
    text = "1 Ada NNP B-NP B-PER\n2 sleeps VBZ B-VP O\n\n1 Hi UH B-INTJ O\n"
    assert columns(text, token_column=2) == EXPECTED
    assert columns(text, token_column=2, tag_column=3)[0].tags == ["NNP", "VBZ"]


def test_tokens_alone():
    assert columns("Ada\nsleeps\n\nHi\n", tag_column=None) == [Sentence(["Ada", "sleeps"], []), Sentence(["Hi"], [])]


def test_tokens_that_look_like_something_else():
    text = "#\tO\n#hashtag\tO\n#_=_\tO\nNew York\tB-LOC\n\u00a0\tO\n\u2028\tO\n"
    assert columns(text)[0].tokens == ["#", "#hashtag", "#_=_", "New York", "\u00a0", "\u2028"]
    assert columns("# O\n#tag O\n\n# O\n") == [Sentence(["#", "#tag"], ["O", "O"]), Sentence(["#"], ["O"])]


CONLLU = (
    "# sent_id = 1\n"
    "1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tdo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_\n"
    "2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_\n"
    "2.1\tgone\t_\tVERB\t_\t_\t_\t_\t0:root\t_\n"
    "3\t#go home\tgo\tVERB\tVB\t_\t0\troot\t_\t_\n"
    "\n"
)


def test_conllu_has_words_only():
    tokens = ["do", "n't", "#go home"]
    assert conllu(CONLLU) == [Sentence(tokens, ["AUX", "PART", "VERB"])]
    assert conllu(CONLLU.replace("\n", "\r\n"), tag_column="xpos") == [Sentence(tokens, ["VBP", "RB", "VB"])]
    assert conllu(CONLLU, tag_column=None) == [Sentence(tokens, [])]


def test_lines_of_plain_and_packed_files(tmp_path):
    plain, packed = tmp_path / "a.conll", tmp_path / "a.conll.gz"
    content = "\ufeffAda\tO\n\u2028\tO\n".encode()
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    assert read_lines(plain) == read_lines(packed) == ["Ada\tO", "\u2028\tO", ""]


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (columns, "Ada\tO\nsleeps\n", r"a.conll:2: expected at least 2 columns separated by tabs, found 1: 'sleeps'$"),
        (columns, "Ada O\n\nsleeps\n", r"a.conll:3: expected at least 2 columns separated by white space, found 1"),
        (columns, "Ada\tB-PER\n\tO\n", r"a.conll:2: expected a token and its tag, found an empty column"),
        (columns, "", r"a.conll: expected sentences, found no tokens"),
        (columns, "\n\n-DOCSTART- O\n", r"a.conll: expected sentences, found no tokens"),
        (conllu, "1\tdo\tdo\tAUX\n", r"a.conllu:1: expected the 10 columns of CoNLL-U separated by tabs, found 4"),
        (
            conllu,
            CONLLU.replace("\n1\t", "\nx\t"),
            r"a.conllu:3: expected a word's number in the first column, found 'x",
        ),
        (conllu, CONLLU.replace("AUX", "_"), r"a.conllu:3: the word 'do' has no tag in the column upos"),
        (conllu, "# only a comment\n", r"a.conllu: expected sentences, found no tokens"),
    ],
)
def test_bad_lines_are_named(parse, text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.conll", None, "No such file"),
        ("a.conll", b"Ada\tO\ncaf\xe9\tO\n", r"a.conll:2: expected UTF-8, found the byte 0xe9; convert"),
        ("a.conll.gz", b"no gzip", "a.conll.gz: cannot be read: Not a gzipped file"),
        ("a.conll.gz", gzip.compress(b"Ada\tO\n" * 1000, mtime=0)[:-10], "a.conll.gz: cannot be read: .*ended before"),
        ("a.conll.gz", gzip.compress(b"Ada", mtime=0)[:10] + b"\xff" * 20, "a.conll.gz: cannot be read: .*decompress"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_lines(tmp_path / name)
    assert "\n" not in str(caught.value)
