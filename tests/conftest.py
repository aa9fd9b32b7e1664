"""Run-time type checks of every array's shape and dtype, and what several test folders share."""

from jaxtyping import install_import_hook

# Before any import of jaxrnn. Only the packages that handle arrays: data and config carry no shapes.
install_import_hook(["jaxrnn.core", "jaxrnn.nn", "jaxrnn.models", "jaxrnn.convert"], "beartype.beartype")

import math

import jax
import numpy as np
import pytest
from jaxtyping import config as jaxtyping_config


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
