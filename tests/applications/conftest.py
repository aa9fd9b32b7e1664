"""What the tests of all applications share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def load_contract():
    """Imports `tests/applications/NAME/contract.py`, which test_contract.py describes, by the application's name."""

    def load(task):
        spec = importlib.util.spec_from_file_location(f"contract_{task}", Path(__file__).parent / task / "contract.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
