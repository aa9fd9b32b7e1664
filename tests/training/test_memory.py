"""What a run holds in memory, counted from shapes before anything is made."""

import math
import time

import jax
import jax.numpy as jnp
import pytest
from parity import page

from jaxrnn import train
from jaxrnn.applications import NoAssets, load_config, network_shapes
from jaxrnn.errors import InputError
from jaxrnn.training import memory


def num_bytes(arrays):
    return sum(math.prod(each.shape) * each.dtype.itemsize for each in jax.tree.leaves(arrays))


@pytest.mark.parametrize(
    ("overrides", "copies"),
    [
        (["optim.optimizer=sgd"], 2),  # the parameters and their gradient
        (["optim.optimizer=sgd", "optim.momentum=0.9"], 3),
        (["optim.optimizer=lion", "optim.ema_decay=0.99"], 4),
        (["optim.optimizer=adam"], 4),
        (["optim.optimizer=adamw", "optim.accumulate_steps=2", "optim.ema_decay=0.99"], 6),
        (["optim.average_epochs=3"], 7),
    ],
)
def test_a_model_that_memory_cannot_hold_is_refused(parity, overrides, copies, monkeypatch):
    """With a byte less than the parameters, their gradient and the optimiser's state need, but for its counters."""
    config = load_config(None, ["task=parity", "model.hidden=20", *overrides])
    shapes = network_shapes(parity.APPLICATION, config, NoAssets())
    needed = copies * num_bytes(shapes.parameters)
    system = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": needed + 64}
    monkeypatch.setattr(memory.os, "sysconf", system.get)
    train._optimizer(config, 10, shapes)
    system["SC_PHYS_PAGES"] = needed - 1
    with pytest.raises(InputError, match=rf"^model: .*{shapes.num_parameters:,} parameters.*GiB"):
        train._optimizer(config, 10, shapes)


def test_a_network_beyond_all_memory_is_refused_at_once(arguments, tmp_path):
    start = time.monotonic()
    with pytest.raises(InputError, match=r"^model: .*model.hidden"):
        train.main(arguments(tmp_path / "run", "model.hidden=1_000_000_000"))
    assert time.monotonic() - start < 60
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_shapes_take_no_memory(parity):
    config = load_config(None, ["task=parity", "model.hidden=1_000_000"])
    shapes = network_shapes(parity.APPLICATION, config, NoAssets())
    assert isinstance(shapes.parameters["layer.cells.0.w_h"], jax.ShapeDtypeStruct)
    assert shapes.num_parameters > 4 * 10**12
    assert page.Parity.config is type(config)


def test_the_memory_of_devices_counts_where_they_tell_it(monkeypatch):
    class Device:
        def memory_stats(self):
            return {"bytes_limit": 100}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(), Device()])
    memory.check_memory(jnp.zeros(50), num_parameters=50, purpose="training")
    with pytest.raises(InputError, match="training its 51 parameters"):
        memory.check_memory(jnp.zeros(51), num_parameters=51, purpose="training")
