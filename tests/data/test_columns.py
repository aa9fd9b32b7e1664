"""Examples in memory, and the fingerprint by which a run knows its data again."""

import numpy as np
import pytest

from jaxrnn.data import Batch, Columns, Padded, Ragged

WORDS = [np.array(ids, np.int32) for ids in ([5, 6], [7], [], [8, 9, 10])]
LABELS = np.array([0, 1, 1, 0], np.int32)


def make(words=WORDS, labels=LABELS, *, padding=1, names=("words", "label")):
    return Columns({names[0]: Ragged(words, padding=padding), names[1]: labels}, bucket_by=names[0])


def test_an_example_has_its_part_of_every_column():
    examples = make()
    assert len(examples) == 4
    assert examples.lengths.tolist() == [2, 1, 0, 3]
    assert examples.lengths.dtype == np.int32
    assert examples[3]["words"].tolist() == [8, 9, 10]
    assert (examples[3]["label"], examples[1]["label"]) == (0, 1)


def test_examples_without_sequences_have_length_1():
    examples = Columns({"x": np.zeros((3, 5), np.float32)}, bucket_by=None)
    assert examples.lengths.tolist() == [1, 1, 1]
    assert examples[2]["x"].shape == (5,)


@pytest.mark.parametrize(
    ("columns", "bucket_by", "words"),
    [
        ({"words": Ragged(WORDS), "label": LABELS[:3]}, "words", "'words': 4, 'label': 3"),
        ({"words": Ragged(WORDS)}, "label", "bucket_by.*'label'"),
        ({"words": Ragged(WORDS), "label": LABELS}, "label", "bucket_by.*'label'"),
    ],
)
def test_columns_that_do_not_go_together(columns, bucket_by, words):
    with pytest.raises(ValueError, match=words):
        Columns(columns, bucket_by=bucket_by)


def test_equal_examples_have_the_same_fingerprint():
    assert make().fingerprint == make([each.copy() for each in WORDS], LABELS.copy()).fingerprint
    assert len(make().fingerprint) == 64
    transposed = np.arange(6.0).reshape(3, 2).T  # the contents count, not where they lie
    one, other = (Columns({"x": each}, bucket_by=None) for each in (transposed, transposed.copy()))
    assert one.fingerprint == other.fingerprint


CHANGES = {
    "a flipped label": make(labels=np.array([0, 1, 1, 1], np.int32)),
    "another word": make([WORDS[0] + 1, *WORDS[1:]]),
    "a word less": make([WORDS[0][:1], *WORDS[1:]]),
    "a word moved to the next example": make([WORDS[0][:1], np.array([6, 7], np.int32), *WORDS[2:]]),
    "an example dropped": make(WORDS[:3], LABELS[:3]),
    "an example repeated": make([*WORDS, WORDS[0]], np.append(LABELS, LABELS[:1])),
    "an empty example repeated": make([*WORDS, WORDS[2]], np.append(LABELS, LABELS[2:3])),
    "another order": make(WORDS[::-1], LABELS[::-1]),
    "other padding": make(padding=0),
    "another dtype": make([each.astype(np.int64) for each in WORDS]),
    "another name": make(names=("tokens", "label")),
    "a column more": Columns(make().columns | {"fold": LABELS}, bucket_by="words"),
    "a column less": Columns({"words": Ragged(WORDS, padding=1)}, bucket_by="words"),
    "labels of another shape": make(labels=LABELS[:, None]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_examples_have_another_fingerprint(change):
    assert CHANGES[change].fingerprint != make().fingerprint


def test_no_two_of_the_changes_have_the_same_fingerprint():
    assert len({examples.fingerprint for examples in CHANGES.values()}) == len(CHANGES)


def test_the_time_of_a_batch_is_that_of_its_longest_array():
    padded = [Padded(np.zeros((2, time)), np.zeros(2, np.int32)) for time in (4, 7)]
    weights, indices = np.ones(2, np.float32), np.arange(2)
    assert Batch({"a": padded[0], "b": padded[1], "label": np.zeros(2)}, weights, indices).time == 7
    assert Batch({"label": np.zeros(2)}, weights, indices).time == 1
