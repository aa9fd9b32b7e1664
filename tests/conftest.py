"""Run-time type checks of every array's shape and dtype, and what several test folders share."""

import logging
import math
import os
import signal

import jax
import numpy as np
import pytest
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# Compiling takes most of these tests' time, and this cuts it to a fifth (measured: JAX 0.10.2, CPU). It changes how XLA
# makes machine code, nothing in JAX; `XLA_FLAGS= pytest` runs the tests as users run the library. A flag that XLA does
# not know ends the process, and the second one, which does the most, is gone in 0.12.
XLA_FLAGS = ["--xla_backend_optimization_level=0"]
if jax.__version_info__ < (0, 11):
    XLA_FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(XLA_FLAGS))
jax.config.update("jax_num_cpu_devices", 8)  # to shard over; everything else runs on the first

# Nothing has imported jaxrnn yet. Only the packages that handle arrays: data and config carry no shapes.
install_import_hook(["jaxrnn.core", "jaxrnn.nn", "jaxrnn.convert"], "beartype.beartype")


@pytest.fixture(scope="module", autouse=True)
def _drop_compiled_programs():
    """JAX keeps every program that it compiled: without this a process of the whole suite grows to 6 GiB."""
    yield
    jax.clear_caches()


@pytest.fixture
def rng():
    """NumPy randomness with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def log(caplog, monkeypatch):
    """What is logged, also where a command has set up the logger for a process of its own."""
    monkeypatch.setattr(logging.getLogger("jaxrnn"), "propagate", True)
    caplog.set_level(logging.INFO, logger="jaxrnn")
    return caplog


@pytest.fixture(scope="module")
def parity():
    """The module of the tiny application, which is registered."""
    import parity

    from jaxrnn import applications

    applications.register("parity", parity.APPLICATION)
    yield parity
    del applications.REGISTRY["parity"]


@pytest.fixture(scope="module")
def strings(tmp_path_factory):
    """A folder with the strings of the tiny application."""
    import parity

    return parity.write_strings(tmp_path_factory.mktemp("strings"))


@pytest.fixture(scope="module")
def arguments(parity, strings):
    """`arguments(run_dir, *settings)`: the words that train the tiny application."""
    return lambda run_dir, *more: [*parity.SMALL, f"data.source={strings}", f"run_dir={run_dir}", *more]


@pytest.fixture
def stopping(monkeypatch):
    """`stopping(step)`: trainings from now on are asked to stop during this step; None: not any more."""
    from jaxrnn import train

    make_train_step = train.make_train_step

    def stopping(last_step):
        def make(*arguments, **options):
            train_step = make_train_step(*arguments, **options)

            def stop(state, batch):
                result = train_step(state, batch)
                if int(result.state.step) == last_step:
                    signal.raise_signal(signal.SIGINT)
                return result

            return stop

        monkeypatch.setattr(train, "make_train_step", make)

    return stopping


@pytest.fixture
def x64():
    """Everything in the test may be float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked_types():
    """Without the run-time type checks, to see what a user, who has none, sees."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


@pytest.fixture
def tolerance():
    """DESIGN section 5: c·eps·√n, for sums of n terms; c covers the steps and products a value passes through."""

    def of(dtype, reduction_length, c=16.0):
        return c * float(np.finfo(dtype).eps) * math.sqrt(reduction_length)

    return of


@pytest.fixture(scope="session")
def run_layer():
    """A compiled run of a recurrent layer with all its gradients, by PyTorch's names, as NumPy arrays.

    `(layer, x, lengths, state, d_y, d_state)`: d_y and d_state are the cotangents of outputs and final state, and
    `weight_ih_l0.grad`, `x.grad`, `h_0.grad` and so on are what comes of them.
    """
    from flax import nnx

    @nnx.jit
    def run(layer, x, lengths, state, d_y, d_state):
        def loss(layer, x, state):
            y, last = layer(x, lengths=lengths, state=state)
            return (y * d_y).sum() + sum((a * b).sum() for a, b in zip(last, d_state, strict=True)), (y, last)

        return nnx.grad(loss, argnums=(0, 1, 2), has_aux=True)(layer, x, state)

    def by_torchs_names(layer, x, lengths, state, d_y, d_state):
        (d_layer, d_x, d_initial), (y, last) = run(layer, x, lengths, state, d_y, d_state)
        found = {"y": y, "x.grad": d_x}
        for name in last._fields:
            found |= {f"{name}_n": getattr(last, name), f"{name}_0.grad": getattr(d_initial, name)}
        for k in range(len(layer.cells)):
            depth, direction = divmod(k, layer.num_directions)
            end = f"l{depth}{'_reverse' * direction}.grad"
            d_cell = {name: np.asarray(value[...]) for name, value in d_layer["cells"][k].items()}
            d_bias_hh = d_cell["b"].copy()  # both of PyTorch's biases have the gradient of their sum,
            if "b_hn" in d_cell:
                d_bias_hh[2] = d_cell["b_hn"]  # but for the GRU's n gate, where they stay apart
            rows = d_bias_hh.size
            found |= {
                f"weight_ih_{end}": np.moveaxis(d_cell["w_x"], 0, -1).reshape(rows, -1),
                f"weight_hh_{end}": np.moveaxis(d_cell["w_h"], 0, -1).reshape(rows, -1),
                f"bias_ih_{end}": d_cell["b"].reshape(rows),
                f"bias_hh_{end}": d_bias_hh.reshape(rows),
            }
        return {name: np.asarray(value) for name, value in found.items()}

    return by_torchs_names


@pytest.fixture(scope="session")
def assert_equal_to_torch():
    """DESIGN section 5: every tensor within 1e-5 (float32) or 1e-12 (float64) of its largest magnitude."""

    def check(actual, expected, dtype):
        tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
        assert actual.keys() == expected.keys()
        for name, value in expected.items():
            assert actual[name].dtype == dtype, name
            atol = tolerance * np.abs(value).max()
            np.testing.assert_allclose(actual[name], value, rtol=0, atol=atol, err_msg=name)

    return check
