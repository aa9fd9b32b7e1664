"""The candidates are backends in these tests, and in no others."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))  # core_cases

from benchmarks import candidates
from jaxrnn.core.registry import BACKENDS


@pytest.fixture(scope="session", autouse=True)
def registered():
    others = dict(BACKENDS)
    candidates.register_all()
    yield
    BACKENDS.clear()
    BACKENDS.update(others)
