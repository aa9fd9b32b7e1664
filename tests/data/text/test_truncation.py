import numpy as np
import pytest

from jaxrnn.data.text import truncate


def test_longer_texts_are_cut_and_counted(log):
    ids = [np.arange(n) for n in (0, 5, 100_000)]
    assert [len(cut) for cut in truncate(ids, 5)] == [0, 5, 5]
    assert "cut 1 of 3 texts to data.max_tokens = 5" in log.text
    assert truncate(ids, 5)[2].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("keep", "head_fraction", "expected"),
    [
        ("head", 0.25, [0, 1, 2, 3]),
        ("tail", 0.25, [6, 7, 8, 9]),
        ("both", 0.25, [0, 7, 8, 9]),
        ("both", 0.6, [0, 1, 8, 9]),  # 2.4 tokens
        ("both", 0.99, [0, 1, 2, 3]),
        ("both", 0.01, [6, 7, 8, 9]),
    ],
)
def test_the_part_that_is_asked_for_is_kept(keep, head_fraction, expected):
    ids = [np.arange(10), np.arange(4), np.arange(20).reshape(10, 2)]
    cut, short, pairs = truncate(ids, 4, keep=keep, head_fraction=head_fraction)
    assert cut.tolist() == expected
    assert short.tolist() == [0, 1, 2, 3]
    assert pairs.tolist() == [[2 * i, 2 * i + 1] for i in expected]
