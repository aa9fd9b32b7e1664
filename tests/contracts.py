"""The tiny data set that each application's own tests train on; tests/applications/test_contract.py describes it."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def load_contract(task: str) -> ModuleType:
    """Imports `tests/applications/TASK/contract.py`."""
    spec = spec_from_file_location(f"contract_of_{task}", Path(__file__).parent / "applications" / task / "contract.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
