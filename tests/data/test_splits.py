"""Splits at random, of records of any kind: here numbers."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrnn.data import complete_splits, pick_split, read_source
from jaxrnn.errors import InputError


class Numbers(list):
    @property
    def keys(self):
        return self

    def take(self, indices):
        return Numbers(self[i] for i in indices)


def complete(splits, **options):
    options = {"validation_fraction": 0.25, "test_fraction": 0.2, "seed": 1, "max_train_examples": None} | options
    return complete_splits({split: Numbers(numbers) for split, numbers in splits.items()}, **options)


@given(
    counts=st.fixed_dictionaries(
        {"train": st.integers(10, 50)}, optional={"validation": st.integers(1, 9), "test": st.integers(1, 9)}
    ),
    seed=st.integers(0, 3),
)
def test_no_example_is_lost_or_in_two_splits(counts, seed):
    numbers = iter(range(100))
    given_splits = {split: [next(numbers) for _ in range(count)] for split, count in counts.items()}
    splits = complete(given_splits, seed=seed)
    assert sorted(chain(*splits.values())) == sorted(chain(*given_splits.values()))
    for split in ("validation", "test"):
        assert len(splits[split]) > 0
        if split in given_splits:
            assert splits[split] == given_splits[split]


def test_the_shares_and_the_seed():
    splits = complete({"train": range(20)})
    assert {split: len(numbers) for split, numbers in splits.items()} == {"train": 12, "validation": 4, "test": 4}
    assert complete({"train": range(20)}) == splits
    assert complete({"train": range(20)}, seed=2)["test"] != splits["test"]


def test_copies_are_dropped_before_a_test_split_and_kept_in_a_given_one(log):
    splits = complete({"train": [*range(20), *range(7)]})
    assert sorted(chain(*splits.values())) == list(range(20))
    assert "dropped 7 of 27" in log.text
    splits = complete({"train": [*range(20), *range(7)], "test": [3, 3, 99]})
    assert len(splits["train"]) + len(splits["validation"]) == 27
    assert splits["test"] == [3, 3, 99]
    assert "2 of 3 test examples also occur in train" in log.text


def test_fewer_training_examples_leave_the_other_splits_alone():
    whole, cut = complete({"train": range(40)}), complete({"train": range(40)}, max_train_examples=8)
    assert len(cut["train"]) == 8
    assert set(cut["train"]) < set(whole["train"])
    assert (cut["validation"], cut["test"]) == (whole["validation"], whole["test"])
    assert complete({"train": range(40)}, max_train_examples=1000) == whole


@pytest.mark.parametrize(("key", "fraction"), [("test_fraction", 0.01), ("validation_fraction", 0.99)])
def test_a_share_that_leaves_nothing_is_refused(key, fraction):
    with pytest.raises(InputError, match=rf"data.{key}: .* {fraction} of \d+ examples"):
        complete({"train": range(20)}, **{key: fraction})


def test_one_split_of_a_source():
    assert pick_split({"train": [1], "test": [2]}, "test", "a") == [2]
    assert pick_split({"train": [1]}, "test", "a") == [1]  # not divided into splits: it is taken whole
    with pytest.raises(InputError, match="'a': has no validation split, only train, test"):
        pick_split({"train": [1], "test": [2]}, "validation", "a")
    with pytest.raises(InputError, match="'a': the test split is empty"):
        pick_split({"train": [1], "test": []}, "test", "a")


def test_an_error_of_the_system_names_the_source_and_the_file(tmp_path):
    def read(source):
        return {"train": (tmp_path / source).read_bytes()}

    with pytest.raises(InputError, match=r"data.source 'none': .*none: No such file"):
        read_source("none", read)
    (tmp_path / "one").write_bytes(b"1")
    assert read_source("one", read) == {"train": b"1"}
