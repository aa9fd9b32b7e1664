"""The TPU kernel, in Pallas's interpreter of a TPU, and lowered for one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, garbage_in_padding
from jax.experimental import pallas
from jax.experimental.pallas import tpu as pltpu

from benchmarks.candidates.pallas_tpu import backend, program
from jaxrnn import core
from jaxrnn.core import call

T, B, D, H = 5, 16, 3, 128
LENGTHS = np.array([5, 0, 1, 4, 2, 3, 5, 5] * 2)
EVERY = ["lstm", "gru_reset_after", "gru_reset_before", "elman_tanh", "gru_norm"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 2 steps and 8 rows, so that there are several, and the last of them is cut."""
    sizes = program.Sizes(time=2, batch=8, num_bytes=0)
    monkeypatch.setattr(program, "choose_sizes", lambda *_, **__: sizes)


@pytest.fixture
def tpu(monkeypatch, small_blocks):
    """A machine with a TPU, whose kernels run in the interpreter made of JAX's own operations.

    That of a TPU calls back to Python in a fixed order, which nothing that JAX differentiates may do.
    """
    monkeypatch.setattr(call, "_platform", lambda device: "tpu")
    monkeypatch.setattr(backend, "KERNEL", backend.KERNEL._replace(platform="cpu"))
    monkeypatch.setattr(pallas, "pallas_call", partial(pallas.pallas_call, interpret=True))


def draw(rng, name, directions):
    def scaled(params):  # sums over 128 units, so that gates are not saturated
        return jax.tree.map(lambda a: (0.2 * a).astype(np.float32), params)

    params = [scaled(draw_params(rng, name, D, H, np.float32)) for _ in range(directions)]
    state = [draw_state(rng, name, B, H, dtype=np.float32) for _ in range(directions)]
    return rng.normal(size=(T, B, D)).astype(np.float32), [params], [state]


@pytest.mark.parametrize("name", [*EVERY[:2], *(pytest.param(n, marks=pytest.mark.slow) for n in EVERY[2:])])
@pytest.mark.usefixtures("tpu")
def test_both_directions_and_all_gradients(name, rng):
    x, params, state = draw(rng, name, 2)
    x = garbage_in_padding(x, LENGTHS)
    d_y = rng.normal(size=(T, B, 2 * H)).astype(np.float32)
    d_last = (tuple(jax.tree.map(np.cos, s) for s in state[0]),)

    @jax.jit
    def run(x, params, state):
        def both(backend):
            def unroll(x, params, state):
                return core.unroll_layers(CELLS[name], x, params, lengths=LENGTHS, state=state, backend=backend)

            results, pull = jax.vjp(unroll, x, params, state)
            return results, pull((d_y, d_last))

        return both("pallas_tpu"), both("reference")

    jaxpr = str(run.trace(x, params, state).jaxpr)
    assert "kernel_save" in jaxpr
    assert "kernel_pull" in jaxpr
    actual, expected = run(x, params, state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    assert_trees_close(actual, expected, 2e-5)


@pytest.mark.usefixtures("tpu")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_one_direction_in_reverse_without_gradients(dtype, tolerance, rng):
    x, [[params]], [[state]] = draw(rng, "lstm", 1)
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), params)
    run = {
        name: jax.jit(lambda x, b=name: core.lstm(x, params, lengths=LENGTHS, state=state, reverse=True, backend=b))
        for name in ("pallas_tpu", "reference")
    }
    assert "kernel_forward" in str(run["pallas_tpu"].trace(x).jaxpr)
    assert_trees_close(run["pallas_tpu"](x), run["reference"](x), tolerance)


def kernel_arguments(rng, name="lstm"):
    x, [params], [state] = draw(rng, name, 2)
    return tuple(
        (CELLS[name].project(jnp.asarray(x), p), p._replace(w_x=None), jax.tree.map(jnp.asarray, s))
        for p, s in zip(jax.tree.map(jnp.asarray, params), state, strict=True)
    )


@pytest.mark.usefixtures("small_blocks")
def test_in_the_interpreter_of_a_tpu(rng):
    """Its memory holds NaN until it is written, and a race between a copy and a read is found."""
    arguments, static = kernel_arguments(rng), (CELLS["lstm"], (False, True))
    kernel, lengths = backend.KERNEL, jnp.asarray(LENGTHS, jnp.int32)
    expected = jax.jit(lambda *a: kernel.plain(static, *a))(arguments, lengths)
    interpreter = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    with pltpu.force_tpu_interpret_mode(interpreter):
        actual, saved = jax.jit(lambda *a: kernel.save(static, *a))(arguments, lengths)
    assert_trees_close(actual, expected, 1e-6)
    for (pre, _), (u, params, state), (y, _) in zip(saved, arguments, expected, strict=True):
        k = 0 if state is arguments[0][2] else T - 1  # the first step of this direction
        first = (u[k] + params.b).reshape(B, -1) + state.h @ params.w_h.reshape(H, -1)
        np.testing.assert_allclose(pre[k], first, atol=1e-5)
        assert y.shape == (T, B, H)


def test_it_lowers_for_a_tpu(rng):
    """To Mosaic, TPU's own intermediate language, with the weights of both directions among the operands."""
    arguments = kernel_arguments(rng)

    @jax.jit
    def gradient(arguments):
        def loss(arguments):
            (y, _), (z, _) = backend.KERNEL((CELLS["lstm"], (False, True)), arguments, jnp.asarray(LENGTHS))
            return (y * z).sum()

        return jax.grad(loss)(arguments)

    text = gradient.trace(arguments).lower(lowering_platforms=("tpu",)).as_text()
    [line] = [line for line in text.splitlines() if "@tpu_custom_call" in line]
    assert line.count("tensor<128x512xf32>") == 2
    assert f"tensor<{T}x" not in line  # time is cut into blocks of 4, and padded to two of them
    assert line.count("tensor<8x16x512xf32>") == 4  # u, and the pre-activations that are kept
    assert "tpu_custom_call" not in gradient.trace(arguments).lower(lowering_platforms=("cpu",)).as_text()


REFUSED = [
    ({"H": 96}, {}, "needs a multiple of 128 hidden units, got 96"),
    ({"H": 4096}, {}, "has no room in VMEM for 4096 hidden units and 16 rows, or no even part of them"),
    ({"B": 130}, {}, "has no room in VMEM for 128 hidden units and 130 rows, or no even part of them"),
    ({"B": 0}, {}, "needs at least one step and one row"),
    ({"dtype": "float64"}, {}, "computes in float32 or bfloat16, and the weights are float64"),
    ({}, {"resets": np.zeros((T, B), bool), "max_gradient": 1.0}, "does not support resets, max_gradient"),
]


@pytest.mark.parametrize(("sizes", "options", "reason"), REFUSED, ids=[reason for *_, reason in REFUSED])
@pytest.mark.usefixtures("x64")
def test_what_it_cannot_serve_is_said(sizes, options, reason, monkeypatch):
    monkeypatch.setattr(call, "_platform", lambda device: "tpu")
    dtype, b, h = (sizes.get(key, value) for key, value in (("dtype", "float32"), ("B", B), ("H", H)))
    params = core.LSTMParams(*(jax.ShapeDtypeStruct(s, dtype) for s in ((D, 4, h), (h, 4, h), (4, h))))
    x = jax.ShapeDtypeStruct((T, b, D), dtype)
    found = core.resolve_backend(core.lstm_cell(), x, params, **options)
    assert (found.name, found.others["pallas_tpu"]) == ("fused_scan", reason)
    with pytest.raises(ValueError, match=f"got 'pallas_tpu', which {reason}"):
        core.resolve_backend(core.lstm_cell(), x, params, backend="pallas_tpu", **options)


def test_what_it_can_serve_is_run_by_name_only(monkeypatch):
    monkeypatch.setattr(call, "_platform", lambda device: "tpu")
    params = core.LSTMParams(*(jax.ShapeDtypeStruct(s, "bfloat16") for s in ((D, 4, H), (H, 4, H), (4, H))))
    x = jax.ShapeDtypeStruct((T, B, D), "float32")
    assert core.backends()["pallas_tpu"] is None
    found = core.resolve_backend(core.lstm_cell(), x, params)
    assert found.name == "fused_scan"
    assert found.others["pallas_tpu"] == "can serve, and was not measured yet: by name only"
    assert core.resolve_backend(core.lstm_cell(), x, params, backend="pallas_tpu").name == "pallas_tpu"
