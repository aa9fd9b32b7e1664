import random

import pytest
from kills import command, contents, disturbed_run, finish, lost


def check(tmp_path, *, num_kills, seed):
    finish(command(tmp_path / "undisturbed", tmp_path / "cache"))
    folder, kills = disturbed_run(tmp_path / "run", tmp_path / "cache", random.Random(seed), num_kills)
    assert len(kills) == num_kills
    assert not any(map(lost, kills))
    expected, found = contents(tmp_path / "undisturbed"), contents(folder)
    assert len(expected["metrics"]) == 8  # 6 epochs, and a line after 50 and after 100 steps
    assert {"state", "position", "best", "result", "files"} < expected.keys()
    assert found == expected


def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path):
    check(tmp_path, num_kills=1, seed=1)


@pytest.mark.slow
def test_many_kills(tmp_path):
    check(tmp_path, num_kills=15, seed=1)
