"""Run-time type checks of every array's shape and dtype, and what several test folders share."""

import math
import os

import jax
import numpy as np
import pytest
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# Compiling takes most of these tests' time, and these two settings cut it to a fifth (measured: JAX 0.10.2, CPU). They
# change how XLA makes machine code, nothing in JAX; `XLA_FLAGS= pytest` runs the tests as users run the library.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0")

# Nothing has imported jaxrnn yet. Only the packages that handle arrays: data and config carry no shapes.
install_import_hook(["jaxrnn.core", "jaxrnn.nn", "jaxrnn.models", "jaxrnn.convert"], "beartype.beartype")


@pytest.fixture
def rng():
    """NumPy randomness with a fixed seed."""
    return np.random.default_rng(0)


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
