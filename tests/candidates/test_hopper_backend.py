"""The backend around the Hopper kernels, with the same in JAX's operations in the place of the kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, garbage_in_padding
from hopper_emulation import launches as launches
from hopper_emulation import on_hopper

from jaxrnn import core
from jaxrnn.core import versions
from jaxrnn.core.backend_table import BACKENDS
from jaxrnn.core.hopper import backend

T, B, D, H = 6, 21, 3, 64  # rows for one tile and a part of another
LENGTHS = np.array([6, 0, 1, 4, 6, 2, 3, 5, 5] * 2 + [0, 6, 3])


def draw(rng, name, layers, directions, dtype="float32"):
    """Weights of a size that keeps sums over 64 units away from saturation."""

    def weights(width):
        params = jax.tree.map(lambda a: (0.3 * a).astype(np.float32), draw_params(rng, name, width, H))
        narrow = {key: jnp.asarray(getattr(params, key), dtype) for key in ("w_x", "w_h")}
        return params._replace(**narrow)

    widths = [D] + [directions * H] * (layers - 1)
    params = [[weights(width) for _ in range(directions)] for width in widths]
    state = [[draw_state(rng, name, B, H, dtype=np.float32) for _ in range(directions)] for _ in widths]
    return rng.normal(size=(T, B, D)).astype(np.float32), params, state


def outputs_and_gradients(name, backend, x, params, state, lengths, cotangents):
    @jax.jit
    def run(x, params, state, lengths):
        def unroll(x, params, state):
            return core.unroll_layers(CELLS[name], x, params, lengths=lengths, state=state, backend=backend)

        results, pull = jax.vjp(unroll, x, params, state)
        return results, pull(cotangents)

    return run(x, params, state, lengths)


CASES = [
    ("lstm", 2, 2, True),
    ("gru_reset_before", 1, 2, True),
    ("gru_reset_after", 1, 2, False),
    pytest.param("gru_reset_after", 1, 2, True, marks=pytest.mark.slow),
    pytest.param("lstm", 1, 1, False, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "layers", "directions", "with_lengths"), CASES)
def test_outputs_states_and_all_gradients(name, layers, directions, with_lengths, launches, rng, tolerance):
    x, params, state = draw(rng, name, layers, directions)
    lengths = LENGTHS if with_lengths else None
    x = garbage_in_padding(x, LENGTHS) if with_lengths else x
    d_y = rng.normal(size=(T, B, directions * H)).astype(np.float32)
    cotangents = d_y, tuple(tuple(jax.tree.map(np.cos, s) for s in layer) for layer in state)
    expected = outputs_and_gradients(name, "reference", x, params, state, lengths, cotangents)
    assert not launches
    actual = outputs_and_gradients(name, "hopper", x, params, state, lengths, cotangents)
    assert launches["backward"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    assert_trees_close(actual, expected, tolerance("float32", T * B + D + H, c=4))


@pytest.mark.parametrize("x_dtype", ["bfloat16", pytest.param("float32", marks=pytest.mark.slow)])
def test_one_direction_in_reverse_in_bfloat16(x_dtype, launches, rng):
    """Rounded as the kernels round: h to 8 bits of fraction, and what is saved and d_pre with it."""
    x, [[params]], [[state]] = draw(rng, "gru_reset_after", 1, 1, "bfloat16")
    x = jnp.asarray(garbage_in_padding(x, LENGTHS), x_dtype)
    d_y = rng.normal(size=(T, B, H)).astype(np.float32)

    def run(backend, params):
        def unroll(x, params, state):
            return core.gru(x, params, lengths=LENGTHS, state=state, reverse=True, backend=backend)

        results, pull = jax.vjp(unroll, x, params, state)
        return results, pull((jnp.asarray(d_y, x_dtype), jax.tree.map(np.cos, state)))

    values, gradients = jax.jit(lambda params: run("hopper", params))(params)
    assert launches["backward"]
    assert values[0].dtype == x_dtype
    expected = jax.jit(lambda params: run("reference", params))(params)[0]
    assert_trees_close(as_float32(values), as_float32(expected), 2**-8 if x_dtype == "bfloat16" else 5e-4)
    wide = params._replace(w_x=params.w_x.astype("float32"), w_h=params.w_h.astype("float32"))
    expected = jax.jit(lambda params: run("reference", params))(wide)[1]
    assert [a.dtype for a in jax.tree.leaves(gradients[1])] == [a.dtype for a in jax.tree.leaves(params)]
    assert_trees_close(as_float32(gradients), as_float32(expected), 1e-2)


def as_float32(tree):
    return jax.tree.map(lambda a: np.asarray(a, "float32"), tree)


@pytest.mark.slow
def test_chunks_and_other_derivatives(launches, rng, tolerance):
    """Second derivatives, forward mode and ensembles, which it has not; and a gradient in chunks, which it has."""
    x, [[params]], [[state]] = draw(rng, "gru_reset_before", 1, 1)

    def loss(backend, params, **options):
        y, last = core.gru(
            x, params, reset_after=False, lengths=LENGTHS, state=state, backend=backend, reverse=True, **options
        )
        return (y**2).sum() + (last.h**3).sum()

    def derivatives(backend):
        def norm_of_gradient(params):
            return sum((g**2).sum() for g in jax.tree.leaves(jax.grad(lambda p: loss(backend, p))(params)))

        tangent = jax.tree.map(jnp.sin, params)
        ensemble = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
        return {
            "chunks": jax.grad(lambda p: loss(backend, p, remat_chunk=4))(params),
            "forward mode": jax.jvp(lambda p: loss(backend, p), (params,), (tangent,)),
            "reverse over reverse": jax.grad(norm_of_gradient)(params),
            "ensemble": jax.vmap(lambda p: loss(backend, p))(ensemble),
        }

    actual = jax.jit(lambda: derivatives("hopper"))()
    assert launches["backward"]
    expected = jax.jit(lambda: derivatives("reference"))()
    assert_trees_close(actual, expected, tolerance("float32", T * B + D + H, c=8))


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
    ("lstm", {"mask": np.ones((T, B), bool), "max_gradient": 1.0}, "knows no mask, max_gradient"),
]


@pytest.mark.parametrize(("name", "changes", "reason"), REFUSED, ids=[reason for *_, reason in REFUSED])
@pytest.mark.usefixtures("launches")
def test_what_it_cannot_serve_is_said(name, changes, reason):
    assert resolve(name, **changes).others["hopper"] == reason
    with pytest.raises(ValueError, match=f"got 'hopper', which {reason}"):
        resolve(name, backend="hopper", **changes)


@pytest.mark.usefixtures("launches")
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
    monkeypatch.setattr(versions, "why_no_cutlass", lambda: "CUTLASS is not installed: pip install 'jaxrnn[hopper]'")
    reason = "CUTLASS is not installed: pip install 'jaxrnn[hopper]'"
    assert core.backends()["hopper"] == resolve().others["hopper"] == reason


def test_that_cutlass_is_missing_is_found_without_importing_it(monkeypatch):
    for found, reason in ((None, "CUTLASS is not installed: pip install 'jaxrnn[hopper]'"), (object(), None)):
        monkeypatch.setattr(versions, "find_spec", {"cutlass": found}.get)
        assert versions.why_no_cutlass() == reason


@pytest.mark.usefixtures("launches")
def test_it_is_run_by_name_only(monkeypatch):
    found = resolve(dtype="bfloat16")
    assert found.name == "fused_scan"
    assert found.others["hopper"] == "can serve, and was not measured yet: by name only"
    assert resolve(dtype="bfloat16", backend="hopper").name == "hopper"
    monkeypatch.setitem(BACKENDS, "hopper", BACKENDS["hopper"]._replace(why_not_chosen=lambda call: None))
    assert resolve(reverse=True).name == "hopper"


def test_on_another_platform_the_plain_operations_run(launches, rng, monkeypatch):
    """Chosen for a GPU, lowered for another: no kernel is left in the program."""
    monkeypatch.setattr(backend, "KERNEL", backend.KERNEL._replace(platform="cuda"))
    x, [[params]], _ = draw(rng, "lstm", 1, 1)

    def gradient(backend):
        return jax.jit(jax.grad(lambda p: (core.lstm(x, p, lengths=LENGTHS, backend=backend)[0] ** 2).sum()))(params)

    assert_trees_close(gradient("hopper"), gradient("reference"), 1e-5)
    assert not launches["backward"]
