"""When the Hopper kernels can serve a call, and what is said when they cannot. No kernel is run."""

import jax
import numpy as np
import pytest
from core_cases import CELLS

from benchmarks.candidates.hopper import backend
from jaxrnn import core
from jaxrnn.core import call
from jaxrnn.core.registry import BACKENDS

T, B, D, H = 6, 21, 3, 64


def on_hopper(monkeypatch, capability="9.0"):
    """JAX seems to run on such a GPU, and CUTLASS to be installed."""
    monkeypatch.setattr(call, "_platform", lambda device: "cuda")
    monkeypatch.setattr(call, "_capability", lambda device: capability)
    monkeypatch.setattr(backend, "why_no_cutlass", lambda: None)


@pytest.fixture
def hopper(monkeypatch):
    on_hopper(monkeypatch)


def resolve(name="lstm", *, dtype="float32", shape=(T, B, D), hidden=H, **options):
    cell = CELLS[name]
    gates, b_hn = cell.num_gates, [(hidden,)] if name == "gru_reset_after" else []
    shapes = [(shape[2], gates, hidden), (hidden, gates, hidden), (gates, hidden), *b_hn]
    arrays = [jax.ShapeDtypeStruct(s, dtype) for s in shapes]
    types = {"lstm": core.LSTMParams, "elman_tanh": core.ElmanParams}
    params = types.get(name, core.GRUParams)(*arrays)
    return core.resolve_backend(cell, jax.ShapeDtypeStruct(shape, "float32"), params, **options)


REFUSED = [
    ("elman_tanh", {}, "serves the plain LSTM and GRU alone"),
    ("gru_norm", {}, "serves the plain LSTM and GRU alone"),
    ("lstm", {"dtype": "float16"}, "computes in bfloat16 or float32, and the weights are float16"),
    ("lstm", {"hidden": 96}, "needs a multiple of 64 hidden units, got 96"),
    ("lstm", {"hidden": 448}, "has no room on the chip for W_h of 448 hidden units in float32"),
    ("lstm", {"shape": (0, B, D)}, "needs at least one step and one row"),
    ("lstm", {"shape": (T, 0, D)}, "needs at least one step and one row"),
    ("lstm", {"mask": np.ones((T, B), bool), "max_gradient": 1.0}, "does not support mask, max_gradient"),
]


@pytest.mark.parametrize(("name", "changes", "reason"), REFUSED, ids=[reason for *_, reason in REFUSED])
@pytest.mark.usefixtures("hopper")
def test_what_it_cannot_serve_is_said(name, changes, reason):
    assert resolve(name, **changes).others["hopper"] == reason
    with pytest.raises(ValueError, match=f"got 'hopper', which {reason}"):
        resolve(name, backend="hopper", **changes)


@pytest.mark.usefixtures("hopper")
def test_float32_is_tf32_or_nothing():
    for precision in ("float32", "highest", "bfloat16"):
        with jax.default_matmul_precision(precision):
            reason = f"multiplies float32 as TF32, and the matmul precision is {precision!r}"
            assert resolve().others["hopper"] == reason
            assert "can serve" in resolve(dtype="bfloat16").others["hopper"]
    for precision in ("default", "tensorfloat32"):
        with jax.default_matmul_precision(precision):
            assert "can serve" in resolve().others["hopper"]


def test_other_gpus_several_devices_and_no_cutlass(monkeypatch):
    assert core.backends()["hopper"] == "needs an NVIDIA GPU, and JAX runs on cpu"
    assert resolve().others["hopper"] == "needs an NVIDIA GPU, and this call runs on cpu"
    on_hopper(monkeypatch)
    assert core.backends()["hopper"] is None
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.sharding.set_mesh(mesh):
        assert resolve().others["hopper"] == "runs on one device"
    on_hopper(monkeypatch, capability="8.0")
    reason = "needs compute capability 9.0, and this GPU has 8.0"
    assert core.backends()["hopper"] == resolve().others["hopper"] == reason
    on_hopper(monkeypatch)
    monkeypatch.setattr(backend, "why_no_cutlass", lambda: "CUTLASS is not installed: pip install 'jaxrnn[hopper]'")
    reason = "CUTLASS is not installed: pip install 'jaxrnn[hopper]'"
    assert core.backends()["hopper"] == resolve().others["hopper"] == reason


def test_that_cutlass_is_missing_is_found_without_importing_it(monkeypatch):
    for found, reason in ((None, "CUTLASS is not installed: pip install 'jaxrnn[hopper]'"), (object(), None)):
        monkeypatch.setattr(backend, "find_spec", {"cutlass": found}.get)
        assert backend.why_no_cutlass() == reason


@pytest.mark.usefixtures("hopper")
def test_it_is_run_by_name_only(monkeypatch):
    found = resolve(dtype="bfloat16")
    assert found.name == "fused_scan"
    assert found.others["hopper"] == "can serve, and was not measured yet: by name only"
    assert resolve(dtype="bfloat16", backend="hopper").name == "hopper"
    monkeypatch.setitem(BACKENDS, "hopper", BACKENDS["hopper"]._replace(why_not_chosen=lambda call: None))
    assert resolve(reverse=True).name == "hopper"
