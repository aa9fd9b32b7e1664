import random

import pytest
from kills import TASKS, Recipe, differences, disturbed_run, lost


def check(task, tmp_path, *, num_kills, seed):
    recipe = Recipe(task, tmp_path / task)
    assert recipe.num_steps > 40
    assert {"state", "position", "best", "result", "fingerprints", "files"} < recipe.expected.keys()
    kills = disturbed_run(recipe, tmp_path / "run", random.Random(seed), num_kills)
    assert len(kills) == num_kills
    assert not any(map(lost, kills))
    assert differences(recipe, tmp_path / "run") == []


def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path):
    """Of the application that also carries a state from step to step."""
    check("language_modelling", tmp_path, num_kills=1, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_many_kills(task, tmp_path):
    check(task, tmp_path, num_kills=6, seed=1)
