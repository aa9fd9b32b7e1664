import gzip
import logging
import zipfile

import numpy as np
import pytest

from jaxrnn.data.text import Vocabulary, load_vectors, with_vectors
from jaxrnn.errors import InputError

LINES = b"the 1 2 3\n\xc3\xa9t\xc3\xa9 -0.5 0.25 1e-3\n. 7 8 9\nthe 4 4 4\n"
WORDS = ["été", "nothere", "the"]
MATRIX = [[-0.5, 0.25, 0.001], [0, 0, 0], [1, 2, 3]]


def write(path, content=LINES):
    if path.suffix == ".gz":
        content = gzip.compress(content)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("glove.2d.txt", b"the 5 6\n")
            archive.writestr("glove.3d.txt", content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.zip"])
def test_every_format(tmp_path, name, caplog):
    with caplog.at_level(logging.INFO, "jaxrnn"):
        vectors = load_vectors(write(tmp_path / name), WORDS, features=3)
    assert vectors.matrix.tolist() == [pytest.approx(row) for row in MATRIX]
    assert vectors.matrix.dtype == "float32"
    assert vectors.found.tolist() == [True, False, True]
    assert vectors.num_skipped_lines == 0
    assert caplog.messages == ["vectors: found 2 of 3 words (66.7 %), missed e.g. 'nothere'"]


def test_zip_member_is_picked_by_width(tmp_path):
    path = write(tmp_path / "v.zip")
    assert load_vectors(path, ["the"], features=2).matrix.tolist() == [[5, 6]]
    with pytest.raises(InputError, match=r"vectors of 100 numbers, found glove\.2d\.txt: 2, glove\.3d\.txt: 3"):
        load_vectors(path, ["the"], features=100)


@pytest.mark.parametrize("bad", ["1 2", "1 2 3 4", "1 x 3", "1 nan 3", "1 -inf 3", "1 1e39 3", "1  3", ""])
def test_bad_lines_are_skipped_and_counted(tmp_path, caplog, bad):
    path = write(tmp_path / "v.txt", b"the 1 2 3\na 1 2 3\n" + f"été {bad}\n".encode() + b"b 1 2 3\n")
    vectors = load_vectors(path, WORDS, features=3)
    assert vectors.matrix.tolist() == [[0, 0, 0], [0, 0, 0], [1, 2, 3]]
    assert vectors.found.tolist() == [False, False, True]
    assert vectors.num_skipped_lines == 1
    assert "skipped 1 of 4 lines" in caplog.text
    assert "v.txt" in caplog.text
    assert "line 3" in caplog.text


def test_good_line_after_a_bad_one_counts(tmp_path):
    path = write(tmp_path / "v.txt", b"the nan 2 3\nthe 4 5 6\na 1 2 3\n")
    assert load_vectors(path, ["the"], features=3).matrix.tolist() == [[4, 5, 6]]


@pytest.mark.parametrize("features", [2, 50])
def test_other_width_names_both(tmp_path, features):
    with pytest.raises(InputError, match=rf"a word and {features} numbers, but 4 of 4 lines are not, most have 3"):
        load_vectors(write(tmp_path / "v.txt"), WORDS, features=features)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.txt", None),
        ("empty.txt", b""),
        ("binary.txt", b"\x00\x93\n\xff" * 50),
        ("v.zip", b"PK\x03\x04 and no more"),
        ("text.zip", LINES),
        ("v.gz", gzip.compress(LINES * 100, mtime=0)[:-20]),
        ("text.gz", LINES),
        ("folder", "folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_unusable_files(tmp_path, name, content):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^vectors.path .*{name}: [^\n]*$"):
        load_vectors(path, WORDS, features=3)


def test_damage_inside_a_zip(tmp_path):
    path = write(tmp_path / "v.zip", b"the 1 2 3\n" * 10000)
    content = bytearray(path.read_bytes())
    start = content.index(b"glove.3d.txt") + 60
    content[start : start + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"v\.zip"):
        load_vectors(path, WORDS, features=3)


def test_vectors_fill_an_embedding(tmp_path):
    path = write(tmp_path / "v.txt", b"film 1 2 3\nelsewhere 9 9 9\ngood -1 0 0.5\n<unk> 7 7 7\n")
    embedding = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    filled = with_vectors(embedding, Vocabulary(["good", "zzz", "film"]), path)
    assert filled.dtype == np.float32
    # <unk> and <pad> are zero, and a word without a vector keeps its initial one.
    np.testing.assert_array_equal(filled, [[0, 0, 0], [0, 0, 0], [-1, 0, 0.5], embedding[3], [1, 2, 3]])
