"""The library in C++: every instruction set of this machine, odd sizes, and what threads and devices may not change."""

import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, garbage_in_padding
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxrnn import core
from jaxrnn.core.kernels.native import backend, library

SERVED = [name for name, cell in CELLS.items() if cell in backend.CELLS]
WHY_NOT = library.choose().why_not
AVAILABLE = [] if WHY_NOT else library.available()
# Several vectors and a cut one; a cut panel; one of everything; no steps; no rows; many rows of few units.
SIZES = [(9, 7, 3, 17), (4, 3, 5, 100), (1, 1, 1, 1), (0, 2, 3, 4), (3, 0, 2, 3), (5, 40, 2, 3)]

needs_library = pytest.mark.skipif(WHY_NOT is not None, reason=f"the library {WHY_NOT}")


def draw(rng, name, sizes, directions=2, dtype=np.float32):
    time, batch, features, hidden = sizes
    drawn = [draw_params(rng, name, features, hidden, np.float32) for _ in range(directions)]
    size = np.float32(2 / np.sqrt(max(4, hidden)))  # larger weights would make wide layers chaotic
    params = jax.tree.map(lambda w: (size * w).astype(dtype), drawn)
    state = [draw_state(rng, name, batch, hidden, dtype=np.float32) for _ in range(directions)]
    lengths = rng.integers(0, time + 1, batch)
    lengths[: min(3, batch)] = [time, 0, min(time, 1)][:batch]
    x = garbage_in_padding(rng.normal(size=(time, batch, features)).astype(np.float32), lengths)
    d_y = rng.normal(size=(time, batch, directions * hidden)).astype(np.float32)
    cotangents = d_y, (tuple(jax.tree.map(np.cos, part) for part in state),)
    return (x, [params], [state], lengths), cotangents


def unroll(name, x, params, state, lengths, backend="native"):
    return core.unroll_layers(CELLS[name], x, params, state=state, lengths=lengths, backend=backend)


def results_and_gradients(name, arguments, cotangents, backend="native"):
    *floats, lengths = arguments
    results, pull = jax.vjp(lambda *floats: unroll(name, *floats, lengths, backend), *floats)
    return results, pull(cotangents)


@needs_library
def test_each_library_was_compiled_for_its_own_instruction_set():
    lanes = {"avx512bf16": 16, "avx512": 16, "avx2": 8, "portable": 4}
    assert {isa: library.load(isa).jaxrnn_lanes() for isa in AVAILABLE} == {isa: lanes[isa] for isa in AVAILABLE}


@needs_library
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SERVED)
def test_every_instruction_set_equals_the_reference(name, dtype, rng, monkeypatch):
    """Both directions, lengths 0 to T, NaN in the padding, values, last states and all gradients."""
    for isa in AVAILABLE:
        library.load(isa)
    for sizes in SIZES if dtype == "float32" else SIZES[:1]:
        arguments, cotangents = draw(rng, name, sizes, dtype=jnp.dtype(dtype))

        @jax.jit
        def all_of_them(arguments, cotangents):
            found = {"reference": results_and_gradients(name, arguments, cotangents, "reference")}
            for isa in AVAILABLE:
                monkeypatch.setattr(library, "choose", lambda isa=isa: library.Choice(isa))
                found[isa] = results_and_gradients(name, arguments, cotangents)
            return found

        found = all_of_them(arguments, cotangents)
        expected = found.pop("reference")
        assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in jax.tree.leaves(expected))
        bound = 1e-5 if dtype == "float32" else 4 * float(jnp.finfo(dtype).eps)
        for results in found.values():
            assert_trees_close(results, expected, bound)


@needs_library
@pytest.mark.parametrize("name", ["lstm", "gru_reset_before"])
def test_rows_are_independent_and_gradients_of_weights_add_up(name, rng):
    """Enough rows and steps for several chunks: the same bits in two halves, and gradients of weights that add up."""
    (x, params, state, lengths), (d_y, d_last) = draw(rng, name, (40, 30, 5, 20))
    run = jax.jit(lambda arguments, cotangents: results_and_gradients(name, arguments, cotangents))
    whole = run((x, params, state, lengths), (d_y, d_last))
    halves = []
    for rows in (slice(0, 11), slice(11, None)):
        of_rows = jax.tree.map(lambda a, rows=rows: a[rows], (state, d_last))
        arguments = x[:, rows], params, of_rows[0], lengths[rows]
        halves.append(run(arguments, (d_y[:, rows], of_rows[1])))
    (outputs, last), (d_x, d_params, d_state) = jax.tree.map(np.asarray, whole)
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *((half[0][1], half[1][2]) for half in halves))
    jax.tree.map(np.testing.assert_array_equal, joined, (last, d_state))
    np.testing.assert_array_equal(np.concatenate([half[0][0] for half in halves], axis=1), outputs)
    # Two directions add to the gradient of x, in an order that depends on how the steps fall into chunks.
    assert_trees_close(np.concatenate([half[1][0] for half in halves], axis=1), d_x, 1e-6)
    summed = jax.tree.map(np.add, *(half[1][1] for half in halves))
    assert_trees_close(d_params, summed, 1e-5)


REPEATED = """
import hashlib, sys
import jax, numpy as np
sys.path[:0] = ["tests/core"]
from test_native import draw, results_and_gradients
digest = hashlib.sha256()
for name in ("lstm", "gru_reset_after", "gru_reset_before"):
    arguments, cotangents = draw(np.random.default_rng(0), name, (60, 21, 9, 40))
    run = jax.jit(lambda *a, name=name: results_and_gradients(name, *a))
    first = None
    for _ in range(35):
        bits = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(run(arguments, cotangents)))
        assert first in (None, bits)
        first = bits
    digest.update(first)
print(digest.hexdigest())
"""


@needs_library
def test_repetitions_and_numbers_of_threads_give_the_same_bits():
    """NPROC is what XLA takes the size of its pool from."""
    digests = set()
    for threads in (1, 2, 5):
        environment = {**os.environ, "NPROC": str(threads), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", REPEATED], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


@needs_library
def test_several_threads_of_python_at_once(rng):
    arguments, cotangents = draw(rng, "lstm", (30, 16, 8, 64))
    run = jax.jit(lambda *a: results_and_gradients("lstm", *a))
    expected = run(arguments, cotangents)
    wrong = []

    def repeat():
        for _ in range(30):
            found = run(arguments, cotangents)
            if not all(map(np.array_equal, jax.tree.leaves(found), jax.tree.leaves(expected))):
                wrong.append(found)

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


@needs_library
def test_inside_scan_vmap_and_second_derivatives(rng):
    """The kernel is a step of a loop; forward mode and higher derivatives are of the plain operations, and equal."""
    (x, params, state, lengths), _ = draw(rng, "gru_reset_after", (6, 4, 3, 5), directions=1)

    def loss(params, x, state, lengths, backend):
        y, last = unroll("gru_reset_after", x, params, state, lengths, backend)
        return (y**2).sum() + sum((part**3).sum() for part in jax.tree.leaves(last))

    def derivatives(backend):
        def many(params):
            total, _ = jax.lax.scan(lambda t, k: (t + loss(params, k * x, state, lengths, backend), None), 0.0, scales)
            return total

        scales = jnp.array([0.5, 1.0])
        of_rows = jax.vmap(lambda x, s, n: loss(params, x[:, None], s, n[None], backend), in_axes=(1, 0, 0))
        rows = jax.tree.map(lambda a: a[:, None], state)
        tangent = jax.tree.map(np.cos, params)
        gradient = jax.grad(loss)
        return {
            "scan": jax.value_and_grad(many)(params),
            "vmap": of_rows(x, rows, lengths),
            "jvp": jax.jvp(lambda p: loss(p, x, state, lengths, backend), (params,), (tangent,)),
            "hvp": jax.jvp(lambda p: gradient(p, x, state, lengths, backend), (params,), (tangent,))[1],
        }

    found = jax.jit(lambda: [derivatives(backend) for backend in ("native", "reference")])()
    assert_trees_close(*found, 3e-5)


@needs_library
@pytest.mark.parametrize("batched", ["x", "x state lengths", "weights"])
def test_vmap_stays_on_the_kernel_but_for_weights(batched, rng):
    (x, params, state, lengths), _ = draw(rng, "lstm", (6, 4, 3, 5))
    x = np.nan_to_num(x)  # other lengths make other padding
    axes = (2 if "x" in batched else None, 0 if "weights" in batched else None)
    axes += (1, 0) if "state" in batched else (None, None)

    def stacked(a, axis):
        return a if axis is None else np.stack([a, a[..., ::-1]], axis)

    arguments = [
        jax.tree.map(lambda a, axis=axis: stacked(a, axis), tree)
        for tree, axis in zip((x, params, state, lengths), axes, strict=True)
    ]

    def losses(params, backend):
        x, _, state, lengths = arguments
        of_one = jax.vmap(lambda *a: unroll("lstm", *a, backend)[0], in_axes=axes)
        y = of_one(x, params, state, lengths)
        return (y**2).sum(), y

    def of(backend):
        return jax.value_and_grad(losses, has_aux=True)(arguments[1], backend)

    assert ("kernel_pull" in str(jax.make_jaxpr(lambda: of("native"))())) == (batched != "weights")
    assert_trees_close(*jax.jit(lambda: [of("native"), of("reference")])(), 1e-5)


@needs_library
def test_rows_divided_over_devices_by_shard_map(rng):
    """Four devices at once, each with rows of its own; the gradient of the weights is summed over them."""
    (x, params, state, lengths), (d_y, _) = draw(rng, "lstm", (6, 8, 3, 5))
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    time_major, rows = P(None, "data"), P("data")

    def loss(params, x, state, lengths, d_y):
        y, _ = unroll("lstm", x, params, state, lengths)
        return jax.lax.psum((y * d_y).sum(), "data")

    sharded = jax.shard_map(loss, mesh=mesh, in_specs=(P(), time_major, rows, rows, time_major), out_specs=P())
    program = jax.jit(jax.value_and_grad(sharded))
    assert "kernel_pull" in str(program.trace(params, x, state, lengths, d_y).jaxpr)

    def alone(params):
        return (unroll("lstm", x, params, state, lengths, "reference")[0] * d_y).sum()

    expected = jax.jit(jax.value_and_grad(alone))(params)
    for _ in range(5):
        assert_trees_close(program(params, x, state, lengths, d_y), expected, 1e-5)


@needs_library
def test_one_program_on_every_device(rng):
    """Eight devices run the same layer at once, and neither wait for each other nor differ."""
    arguments, cotangents = draw(rng, "gru_reset_after", (30, 16, 8, 64))
    run = jax.jit(lambda *a: results_and_gradients("gru_reset_after", *a))
    found = [run(*jax.device_put((arguments, cotangents), device)) for device in jax.devices() for _ in range(3)]
    for each in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, each, found[0])


@needs_library
def test_an_exported_program_has_plain_operations_alone(rng):
    """It may run on a machine without the library."""
    (x, [[params]], [[state]], lengths), _ = draw(rng, "lstm", (4, 3, 2, 5), directions=1)
    function = jax.jit(lambda x, state: core.lstm(x, params, state=state, lengths=lengths, backend="native"))
    assert "custom_call" in function.lower(x, state).as_text()
    exported = jax.export.export(function)(x, state)
    assert "custom_call" not in exported.mlir_module()
    again = jax.export.deserialize(exported.serialize())
    assert_trees_close(again.call(x, state), function(x, state), 1e-5)


def resolve(name="lstm", dtype="float32", shape=(64, 2, 3), **options):
    cell = CELLS[name]
    params = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, dtype), draw_params(np.random.default_rng(0), name, 3, 4)
    )
    return core.resolve_backend(cell, jax.ShapeDtypeStruct(shape, "float32"), params, **options)


BOOLEANS = np.ones((64, 2), bool)


@needs_library
@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("gru_norm", {}, "serves the plain LSTM, GRU and Elman cells alone"),
        ("lstm", {"dtype": "float64"}, "computes in float32 or bfloat16, and the weights are float64"),
        ("lstm", {"dtype": "float16"}, "computes in float32 or bfloat16, and the weights are float16"),
        ("lstm", {"mask": BOOLEANS, "max_gradient": 1.0}, "does not support mask, max_gradient"),
        ("lstm", {"resets": BOOLEANS, "all_states": True}, "does not support resets, all_states"),
    ],
)
def test_what_it_cannot_serve_is_refused_in_words(name, options, reason):
    found = resolve(name, **options)
    assert found.name == "fused_scan"
    assert found.others["native"] == reason
    with pytest.raises(ValueError, match=f"got 'native', which {reason}"):
        resolve(name, backend="native", **options)


@needs_library
def test_it_is_chosen_on_one_device_and_not_where_the_partitioner_divides():
    assert resolve().name == resolve("gru_reset_before", reverse=True, lengths=np.array([5, 0])).name == "native"
    for shape in ((7, 100, 3), (60, 2, 3)):  # the fewest steps are 8, and 128 with all rows
        reason = "lays out its weights anew in each call, which so few steps do not pay for"
        assert resolve(shape=shape).others["native"] == f"can serve, and {reason}: by name only"
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        assert resolve().others["native"] == "is divided over devices by `shard_map` alone"


def test_without_the_library_the_fused_scan_serves(monkeypatch, rng):
    reason = "was not compiled: install a C++ compiler, and then jaxrnn again"
    monkeypatch.setattr(library, "choose", lambda: library.Choice("", reason))
    assert core.backends()["native"] == reason
    found = resolve()
    assert (found.name, found.others["native"]) == ("fused_scan", reason)
    (x, params, _, lengths), _ = draw(rng, "lstm", (2, 2, 2, 2))
    y, _ = core.unroll_layers(CELLS["lstm"], x, params, lengths=lengths)
    assert y.shape == (2, 2, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sse9", ["", "cannot tell JAXRNN_NATIVE_ISA=sse9: expected one of avx512bf16, avx512, avx2, portable"]),
        ("portable", ["portable", "None"]),
    ],
)
@needs_library
def test_an_instruction_set_by_name(name, expected):
    command = "from jaxrnn.core.kernels.native.library import choose; print(*choose(), sep='\\n')"
    environment = {**os.environ, "JAXRNN_NATIVE_ISA": name}
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == expected
