"""A model taken apart: what is trained, what each parameter is, and what is not trained."""

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from small_network import Constant, Network, small_batches, small_model, small_task

from jaxrnn import nn
from jaxrnn.training import (
    Checkpoints,
    Devices,
    Kind,
    Position,
    TrainState,
    make_optimizer,
    make_train_step,
    split_model,
)


def test_every_parameter_has_a_name_and_the_model_is_put_together_again():
    split = split_model(Network(rngs=nnx.Rngs(0)))
    assert set(split.parameters) == {
        *("embedding.embedding", "head.kernel", "head.bias"),
        *(f"layer.cells.0.{name}" for name in ("w_x", "w_h", "b", "b_hn")),
    }
    assert split.num_parameters == sum(each.size for each in split.parameters.values()) == 30 * 8 + 3 * 9 + 17 * 24 + 8
    doubled = split.merge({name: 2 * value for name, value in split.parameters.items()}, split.rest)
    np.testing.assert_array_equal(doubled.head.kernel[...], 2 * split.parameters["head.kernel"])
    np.testing.assert_array_equal(doubled.scale[...], [0.5, 1.25, 2])


def test_shapes_alone_can_be_taken_apart():
    shapes = split_model(nnx.eval_shape(lambda: Network(rngs=nnx.Rngs(0))))
    split = small_model()
    assert shapes.num_parameters == split.num_parameters
    assert shapes.kinds == split.kinds
    assert jax.tree.map(jnp.shape, split.parameters) == {name: each.shape for name, each in shapes.parameters.items()}


class Stranger(nnx.Module):
    """A new module whose parameters are called as those of others are, and are something else."""

    def __init__(self, rngs):
        for name in ("kernel", "b", "w_x", "w_h", "embedding"):
            setattr(self, name, nnx.Param(jnp.ones((8, 8))))


class Outspoken(nnx.Module):
    """A new module that names the matrices of its products."""

    matrices = ("mix",)

    def __init__(self, rngs):
        self.mix = nnx.Param(jnp.ones((8, 8)))
        self.kernel = nnx.Param(jnp.ones((8, 8)))


class Whole(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(5, 8, rngs=rngs)
        self.layer = nn.LSTM(8, 8, projection_features=4, bidirectional=True, rngs=rngs)
        self.conv = nnx.Conv(4, 4, 3, rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.stranger = Stranger(rngs)
        self.outspoken = Outspoken(rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)


def test_a_parameter_is_what_its_module_declares():
    kinds = split_model(Whole(nnx.Rngs(0))).kinds
    matrices = {name for name, kind in kinds.items() if kind.is_matrix}
    cells = [f"layer.cells.{number}" for number in (0, 1)]
    assert matrices == {
        *(f"{cell}.{name}" for cell in cells for name in ("w_x", "w_h", "w_p")),
        "conv.kernel",
        "head.kernel",
        "outspoken.mix",
    }
    assert {name for name, kind in kinds.items() if kind.is_embedding} == {"embedding.embedding"}
    assert {name for name, kind in kinds.items() if kind.hidden_axis} == {
        f"{cell}.{name}" for cell in cells for name in ("w_x", "w_h", "b")
    }


def test_a_new_module_is_neither_decayed_nor_divided():
    split = split_model(Whole(nnx.Rngs(0)))
    new = [name for name in split.parameters if name.startswith(("stranger", "outspoken"))]
    assert len(new) == 7
    optimizer = make_optimizer(rule="sgd", learning_rate=1.0, num_steps=2, weight_decay=0.5, kinds=split.kinds)
    transformation = optimizer.transformation
    zeros = jax.tree.map(jnp.zeros_like, split.parameters)
    updates, _ = transformation.update(zeros, transformation.init(split.parameters), split.parameters)
    assert [name for name in new if np.any(updates[name])] == ["outspoken.mix"]
    divided = Devices.of(8, model_parallel=4, divide="both").put(split.parameters, split.kinds)
    assert all(divided[name].sharding.is_fully_replicated for name in new)
    assert not divided["embedding.embedding"].sharding.is_fully_replicated
    assert not divided["layer.cells.0.w_h"].sharding.is_fully_replicated


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A state with everything an optimiser may remember, after an epoch, and the folder where it is saved."""
    model = small_model()
    optimizer = make_optimizer(
        rule="adamw", learning_rate=0.1, num_steps=8, weight_decay=0.1, ema_decay=0.9, kinds=model.kinds
    )
    state = TrainState.initial(jax.tree.map(jnp.array, model.parameters), optimizer.transformation)
    state = state.put(model, Devices.of(1))
    step = make_train_step(model, optimizer.transformation, 0, task=small_task())
    for batch in small_batches().epoch(0):
        state = step(state, batch).state
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = Checkpoints(folder)
    checkpoints.save_best(4, state.parameters)
    checkpoints.save_latest(state, Position())
    checkpoints.close()
    return model, state, folder


def test_a_constant_is_neither_trained_nor_averaged(trained):
    model, state, _ = trained
    names = {str(entry.key) for path, _ in jax.tree.leaves_with_path(state) for entry in path if hasattr(entry, "key")}
    assert names == set(model.parameters)  # those of parameters, moments and averages
    np.testing.assert_array_equal(model.merge(state.parameters, model.rest).scale[...], [0.5, 1.25, 2])
    assert any(not np.array_equal(state.parameters[name], value) for name, value in model.parameters.items())


def test_a_constant_is_in_no_checkpoint(trained):
    _, _, folder = trained
    for item in ("best/4/parameters", "latest/4/state"):
        metadata = ocp.StandardCheckpointHandler().metadata(folder / item)
        names = [leaf.name for leaf in jax.tree.leaves(metadata.tree)]
        assert any("head.kernel" in name for name in names)
        assert not any("scale" in name for name in names)


def test_a_constant_comes_from_where_the_network_is_built(trained):
    """Other assets, another constant; the parameters do not know."""
    model, state, _ = trained
    other = jax.tree.map(lambda value: 2 * value, model.rest)
    np.testing.assert_array_equal(model.merge(state.parameters, other).scale[...], [1, 2.5, 4])
    assert isinstance(model.merge(state.parameters, other).scale, Constant)
    assert model.kinds["head.bias"] == Kind()
