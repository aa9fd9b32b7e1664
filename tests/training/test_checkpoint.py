import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn.errors import InputError
from jaxrnn.training import Checkpoints, Position, TrainState
from jaxrnn.training.step import Totals

OPTIMIZER = optax.adam(1e-3)


def state_at(step, value):
    state = TrainState.initial({"w": jnp.full((2, 3), value), "b": jnp.arange(3.0)}, OPTIMIZER)
    return state._replace(step=jnp.int32(step))


def test_everything_comes_back(tmp_path):
    position = Position(2, 7, Totals(1 / 3, 5, 6, 70), Totals(0.1, 1, 2, 3), 0.6931471805599453, 40, 12.5)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_latest(state_at(40, 0.1), Position())
    checkpoints.save_latest(state_at(47, 0.25), position)
    checkpoints.close()
    state, restored = Checkpoints(tmp_path).restore_latest(state_at(0, 0.0))
    assert restored == position
    assert int(state.step) == 47
    np.testing.assert_array_equal(state.parameters["w"], np.full((2, 3), 0.25, np.float32))
    adam = state.optimizer[0]
    assert isinstance(adam, optax.ScaleByAdamState)
    np.testing.assert_array_equal(adam.mu["b"], np.zeros(3))


def test_two_latest_and_one_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save_latest(state_at(step, step), Position())
        checkpoints.save_best(step, state_at(step, step).parameters)
    parameters, step = checkpoints.restore_best(state_at(0, 0.0).parameters)
    checkpoints.close()
    assert step == 3
    np.testing.assert_array_equal(parameters["w"], np.full((2, 3), 3.0))
    assert sorted(path.name for path in (tmp_path / "latest").iterdir()) == ["2", "3"]
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["3"]


def test_nothing_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore_latest(state_at(0, 0.0)) is None
    with pytest.raises(InputError, match="holds no checkpoint yet"):
        checkpoints.restore_best(state_at(0, 0.0).parameters)


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(3, state_at(3, 1.0).parameters)
    checkpoints.close()
    for file in (tmp_path / "best" / "3" / "parameters").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    with pytest.raises(InputError, match="best/3: the checkpoint cannot be read"):
        Checkpoints(tmp_path).restore_best(state_at(0, 0.0).parameters)


def test_a_saved_state_does_not_change_with_the_arrays_it_came_from(tmp_path):
    # The step donates its state: the checkpoint, written in the background, must have its own copy.
    import jax

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
