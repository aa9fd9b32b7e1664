import json
import resource
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn.errors import InputError
from jaxrnn.training import Checkpoints, Position, TrainState
from jaxrnn.training.checksums import CHECKSUMS, DamagedError, seal, verify
from jaxrnn.training.series import FORMAT

OPTIMIZER = optax.adam(1e-3)


def state_at(step, value):
    state = TrainState.initial({"w": jnp.full((2, 3), value), "b": jnp.arange(3.0)}, OPTIMIZER)
    return state._replace(step=jnp.int32(step))


def test_everything_comes_back(tmp_path):
    totals = {"loss": 1 / 3, "count": 6, "by_type": np.array([[2**40, 1], [0, 3]])}
    position = Position(2, 7, totals, {"loss": 0.1}, 0.6931471805599453, 40, 12.5, 3, 1)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_latest(state_at(40, 0.1), Position())
    checkpoints.save_latest(state_at(47, 0.25), position)
    checkpoints.close()
    state, restored = Checkpoints(tmp_path).restore_latest(state_at(0, 0.0))
    assert restored._replace(totals={}) == position._replace(totals={})
    assert (restored.totals["loss"], restored.totals["count"]) == (1 / 3, 6)
    assert restored.totals["by_type"].tolist() == [[2**40, 1], [0, 3]]
    assert int(state.step) == 47
    np.testing.assert_array_equal(state.parameters["w"], np.full((2, 3), 0.25, np.float32))
    adam = state.optimizer[0]
    assert isinstance(adam, optax.ScaleByAdamState)
    np.testing.assert_array_equal(adam.mu["b"], np.zeros(3))


@pytest.mark.parametrize("num_kept", [1, 2])
def test_the_latest_and_one_best_more_are_kept(tmp_path, num_kept):
    checkpoints = Checkpoints(tmp_path, num_kept=num_kept)
    for step in (1, 2, 3, 4):
        checkpoints.save_best(step, state_at(step, step).parameters)
        checkpoints.save_latest(state_at(step, step), Position())
    checkpoints.wait()
    parameters, step = checkpoints.restore_best(state_at(0, 0.0).parameters)
    checkpoints.close()
    assert step == 4
    np.testing.assert_array_equal(parameters["w"], np.full((2, 3), 4.0))
    assert sorted(path.name for path in (tmp_path / "latest").iterdir()) == ["1", "2", "3", "4"][-num_kept:]
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["1", "2", "3", "4"][-num_kept - 1 :]


def test_nothing_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore_latest(state_at(0, 0.0)) is None
    with pytest.raises(InputError, match="holds no checkpoint yet"):
        checkpoints.restore_best(state_at(0, 0.0).parameters)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 1, 2 and 3, and the best at 2 and 3."""
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = Checkpoints(folder)
    for step in (1, 2, 3):
        if step > 1:
            checkpoints.save_best(step, state_at(step, step).parameters)
        checkpoints.save_latest(state_at(step, step), Position(best_step=step))
    checkpoints.close()
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


DAMAGES = {"flipped": flip_a_bit, "truncated": truncate, "missing": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_damaged_the_one_before_is_used(folder, damage, caplog, monkeypatch):
    monkeypatch.setattr("jaxrnn.training.series.logger.propagate", True)
    files = [
        path.relative_to(folder / "latest" / "3") for path in (folder / "latest" / "3").rglob("*") if path.is_file()
    ]
    assert len(files) > 5
    for name in files:
        work = shutil.copytree(folder, folder.with_name("work"))
        DAMAGES[damage](work / "latest" / "3" / name)
        caplog.clear()
        checkpoints = Checkpoints(work)
        state, position = checkpoints.restore_latest(state_at(0, 0.0))
        checkpoints.close()
        assert (int(state.step), position.best_step) == (2, 2), name
        assert "latest/3: the checkpoint is damaged (" in caplog.text
        assert "latest/2 instead" in caplog.text
        # What comes after the checkpoint in use is gone: the run will make it again.
        assert sorted(path.name for path in (work / "latest").iterdir()) == ["2"]
        assert sorted(path.name for path in (work / "best").iterdir()) == ["2"]
        shutil.rmtree(work)


def test_a_damaged_best_gives_way_to_the_one_before(folder, caplog, monkeypatch):
    monkeypatch.setattr("jaxrnn.training.series.logger.propagate", True)
    flip_a_bit(folder / "best" / "3" / "parameters" / "_METADATA")
    parameters, step = Checkpoints(folder, read_only=True).restore_best(state_at(0, 0.0).parameters)
    assert step == 2
    np.testing.assert_array_equal(parameters["w"], np.full((2, 3), 2.0))
    assert "best/3: the checkpoint is damaged ('parameters/_METADATA' has changed since it was written)" in caplog.text
    assert "best/2 instead" in caplog.text
    flip_a_bit(folder / "best" / "2" / "parameters" / "_METADATA")
    with pytest.raises(InputError, match=r"best/3: the checkpoint is damaged .*best/2: the checkpoint is damaged"):
        Checkpoints(folder, read_only=True).restore_best(state_at(0, 0.0).parameters)
    assert sorted(path.name for path in (folder / "best").iterdir()) == ["2", "3"]


def test_a_first_save_that_was_cut_short_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_latest(state_at(1, 1.0), Position())
    checkpoints.close()
    (tmp_path / "latest" / "1" / CHECKSUMS).unlink()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore_latest(state_at(0, 0.0)) is None
    checkpoints.save_latest(state_at(1, 2.0), Position())
    checkpoints.close()
    state, _ = Checkpoints(tmp_path).restore_latest(state_at(0, 0.0))
    np.testing.assert_array_equal(state.parameters["w"], np.full((2, 3), 2.0))


@pytest.mark.parametrize("number", [1, 2, 4, None])
def test_another_format_is_refused(folder, number):
    step = folder / "latest" / "3"
    about = step / "about" / "metadata"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"format": number}))
    seal(step)
    with pytest.raises(InputError, match=rf"latest/3: .*another release.*format {number}, .* {FORMAT}\b"):
        Checkpoints(folder).restore_latest(state_at(0, 0.0))


def test_a_position_of_another_kind_is_refused(folder):
    step = folder / "latest" / "3"
    about = step / "about" / "metadata"
    about.write_text(json.dumps({"format": FORMAT, "epok": 3}))
    seal(step)
    with pytest.raises(InputError, match=r"latest/3: .*position"):
        Checkpoints(folder).restore_latest(state_at(0, 0.0))


CARRIES = {
    "none": (),
    "an array": jnp.arange(6.0).reshape(3, 2),
    "a tree": {"h": jnp.arange(6.0).reshape(3, 2), "c": [jnp.ones((3, 1))]},
}


@pytest.mark.parametrize("kind", CARRIES)
def test_the_carry_comes_back(tmp_path, kind):
    state = state_at(7, 1.0)._replace(carry=CARRIES[kind])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_latest(state, Position())
    checkpoints.close()
    like = state._replace(carry=jax.tree.map(jnp.zeros_like, state.carry))
    restored, _ = Checkpoints(tmp_path).restore_latest(like)
    assert jax.tree.structure(restored.carry) == jax.tree.structure(state.carry)
    assert jax.tree.all(jax.tree.map(np.array_equal, restored.carry, state.carry))


def test_another_shape_does_not_fit(folder):
    like = state_at(0, 0.0).parameters | {"w": jnp.zeros((5, 3))}
    with pytest.raises(InputError, match=r"best/3/parameters: w has shape \(2, 3\), and .*needs \(5, 3\)"):
        Checkpoints(folder, read_only=True).restore_best(like)


def test_names_in_checksums_are_not_followed(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "secret").write_text("outside")
    seal(tmp_path / "here")
    (tmp_path / "here" / CHECKSUMS).write_text('{"../secret": ""}')
    with pytest.raises(DamagedError, match=r"'\.\./secret' is missing"):
        verify(tmp_path / "here")


def test_a_saved_state_does_not_change_with_the_arrays_it_came_from(tmp_path):
    # The step donates its state: the checkpoint, written in the background, must have its own copy.
    checkpoints = Checkpoints(tmp_path)
    advance = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    state = state_at(5, 1.0)
    checkpoints.save_latest(state, Position())
    for _ in range(20):
        state = advance(state)
    checkpoints.close()
    restored, _ = Checkpoints(tmp_path).restore_latest(state_at(0, 0.0))
    np.testing.assert_array_equal(restored.parameters["w"], np.full((2, 3), 1.0))
    assert int(restored.step) == 5


def save_and_wait(checkpoints):
    checkpoints.save_latest(state_at(2, 2.0), Position())
    checkpoints.wait()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of orbax's event loop, cut short
def test_a_save_that_fails_leaves_the_earlier_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_latest(state_at(1, 1.0), Position())
    checkpoints.wait()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))  # the system refuses to write more to any file
    try:
        with pytest.raises(InputError, match=r"latest/2: the checkpoint could not be saved \(.*whole"):
            save_and_wait(checkpoints)
        assert not list((tmp_path / "latest").glob("*tmp*"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path)
    state, _ = checkpoints.restore_latest(state_at(0, 0.0))
    assert int(state.step) == 1
    checkpoints.save_latest(state_at(2, 2.0), Position())
    checkpoints.close()
    assert int(Checkpoints(tmp_path).restore_latest(state_at(0, 0.0))[0].step) == 2
