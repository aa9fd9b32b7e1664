"""The scan without the rows that have ended: several numbers of rows, and several tiles, the last of which is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, garbage_in_padding, out_width

from jaxrnn import core
from jaxrnn.core.control import Loop
from jaxrnn.core.kernels import packed_rows, trimmed_scan
from jaxrnn.core.kernels.packed_rows import PackedRows

T, B, D, H = 7, 5, 3, 4
LENGTHS = np.array([3, 0, 7, 1, 4])
REFERENCE = {"time": 256, "batch": 64, "features": 100, "hidden": 256}
FAST = [("lstm", True, False), ("gru_norm", False, True)]
CASES = [(name, reverse, all_states) for name in CELLS for reverse in (False, True) for all_states in (False, True)]


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch):
    """2, 4 or all 5 rows; tiles of 8 entries, that are no multiple of 7 steps of 5 rows."""
    monkeypatch.setattr(packed_rows, "ROWS", 1)
    monkeypatch.setattr(packed_rows, "NUM_SIZES", 3)
    monkeypatch.setattr(packed_rows, "TILE", 8)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "reverse", "all_states"),
    [pytest.param(*case, marks=[] if case in FAST else pytest.mark.slow) for case in CASES],
)
def test_outputs_states_and_all_gradients(name, reverse, all_states, rng, tolerance):
    arguments = rng.normal(size=(T, B, D)), draw_params(rng, name, D, H), draw_state(rng, name, B, H)
    d_y = draw_state(rng, name, T, B, H) if all_states else rng.normal(size=(T, B, out_width(name, H)))
    cotangents = d_y, draw_state(rng, name, B, H)

    def run(backend, x, params, state, lengths):
        def unroll(x, params, state):
            options = {"reverse": reverse, "all_states": all_states, "backend": backend}
            return core.unroll(CELLS[name], x, params, lengths=lengths, state=state, **options)

        results, pull = jax.vjp(unroll, x, params, state)
        return results, pull(cotangents)

    both = jax.jit(lambda *a: [run(backend, *a) for backend in ("trimmed_scan", "reference")])
    for lengths in (LENGTHS, np.full(B, T), np.zeros(B, int)):
        x = garbage_in_padding(arguments[0], lengths)
        actual, expected = both(x, *arguments[1:], lengths)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
        assert_trees_close(actual, expected, tolerance("float64", T * B * (D + H), c=4))
        d_x = np.asarray(actual[1][0])
        assert not d_x[np.arange(T)[:, None] >= lengths].any()
    assert "kernel_pull" in str(both.trace(x, *arguments[1:], LENGTHS).jaxpr)


def test_narrow_weights(rng):
    """Gradients of the weights have the dtype of the weights, and are summed over the tiles in float32."""
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), draw_params(rng, "lstm", D, H))
    x = jnp.asarray(rng.normal(size=(T, B, D)), jnp.float32)

    @jax.jit
    def gradients(x, params):
        def loss(x, params, backend):
            return (core.lstm(x, params, lengths=LENGTHS, backend=backend)[0] ** 2).sum()

        return [jax.grad(loss, argnums=(0, 1))(x, params, b) for b in ("trimmed_scan", "fused_scan")]

    assert_trees_close(*gradients(x, params), 4 * float(jnp.finfo(jnp.bfloat16).eps))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("directions", [1, 2])
def test_layers_on_top_of_each_other(directions, rng, tolerance):
    """In one kernel, packed all the way: a GRU, also on float32 inputs, whose outputs are float32 in between."""
    layers = [
        [draw_params(rng, "gru_reset_after", width, H) for _ in range(directions)] for width in (D, directions * H)
    ]
    states = [[draw_state(rng, "gru_reset_after", B, H) for _ in layer] for layer in layers]
    d_y = rng.normal(size=(T, B, directions * H))

    def run(backend, x, layers, states):
        def unroll(x, layers, states):
            cell = CELLS["gru_reset_after"]
            return core.unroll_layers(cell, x, layers, lengths=LENGTHS, state=states, backend=backend)

        (y, last), pull = jax.vjp(unroll, x, layers, states)
        return y, last, pull((d_y.astype(y.dtype), jax.tree.map(jnp.ones_like, last)))

    both = jax.jit(lambda *a: [run(backend, *a) for backend in ("trimmed_scan", "reference")])
    for dtype in ("float64", "float32"):
        actual, expected = both(garbage_in_padding(rng.normal(size=(T, B, D)), LENGTHS).astype(dtype), layers, states)
        assert actual[0].dtype == dtype
        assert_trees_close(actual, expected, tolerance(dtype, T * B * (D + H), c=4))


def test_where_rows_are():
    """Longest first, the rows are 2, 4, 0, 3, 1, of 7, 4, 3, 1 and no steps; a step holds 2, 4 or all 5 of them."""
    rows = PackedRows(jnp.asarray(LENGTHS, jnp.uint8), T)
    assert rows.order.tolist() == [2, 4, 0, 3, 1]
    assert rows.num_rows.tolist() == [4, 4, 4, 2, 2, 2, 2]
    assert rows.first_entry.tolist() == [0, 4, 8, 12, 14, 16, 18]
    assert rows.num_entries == 20
    assert (rows.tile, rows.capacity) == (8, 40)
    segments = [(s.rows, int(s.step), int(s.num_steps), int(s.entry)) for s in rows.segments]
    assert segments == [(5, 0, 0, 0), (4, 0, 3, 0), (2, 3, 4, 12)]


def test_packed_and_back():
    rows = PackedRows(jnp.asarray(LENGTHS, jnp.int32), T)
    x = 1 + jnp.arange(T * B).reshape(T, B, 1)
    packed = rows.pack(x)
    assert packed[:8, 0].tolist() == [*x[0, jnp.array([2, 4, 0, 3]), 0], *x[1, jnp.array([2, 4, 0]), 0], 0]
    assert not packed[20:].any()
    assert (rows.unpack(packed) == jnp.where((jnp.arange(T)[:, None] < LENGTHS)[..., None], x, 0)).all()
    assert (rows.unsort(rows.sort(x[0])) == x[0]).all()


@pytest.mark.parametrize("backwards", [False, True])
def test_steps_and_tiles_that_are_run(backwards):
    """Which rows run at which step, by writing the step's number where they are; and every tile with entries once."""
    rows = PackedRows(jnp.asarray(LENGTHS, jnp.int32), T)

    def body(part, alive, state, written):
        state = jnp.where(alive, state + 1, state)
        return state, part.put(written, jnp.where(alive, state, -1))

    state, written = rows.over_steps(body, jnp.zeros(B, int), jnp.full(rows.capacity, 9), backwards=backwards)
    assert rows.unsort(state).tolist() == LENGTHS.tolist()
    expected = [[k + 1 if k < n else 0 for n in LENGTHS] for k in range(T)]
    if backwards:
        expected = [[n - k if k < n else 0 for n in LENGTHS] for k in range(T)]
    assert rows.unpack(written).tolist() == expected
    assert written[20:].tolist() == [9] * 20
    tiles = rows.over_tiles(lambda part, seen: part.put(seen, part.take(seen) + 1), jnp.zeros(rows.capacity, int))
    assert tiles.tolist() == [1] * 24 + [0] * 16


def test_sizes_at_the_scale_they_are_made_for(monkeypatch):
    monkeypatch.undo()
    for batch, sizes in ((5, [5]), (64, [*range(64, 0, -8)]), (100, [100, *range(96, 0, -16)])):
        assert [segment.rows for segment in PackedRows(jnp.ones(batch, int), T).segments] == sizes


def test_products_are_over_the_rows_of_each_size(rng):
    """In the program: a loop for each number of rows, in which are the products of one step of so many rows."""
    params = jax.tree.map(jnp.asarray, draw_params(rng, "lstm", D, H, np.float32))
    state = core.LSTMState(jnp.zeros((B, H)), jnp.zeros((B, H)))
    arguments = jnp.zeros((T, B, D)), ((params,),), ((state,),)
    program = jax.make_jaxpr(lambda a, n: trimmed_scan._forward((Loop(CELLS["lstm"]),), a, n))(arguments, LENGTHS)
    loops = [eqn for eqn in program.eqns if eqn.primitive.name == "while"]
    assert len(loops) == 3
    for rows, loop in zip((5, 4, 2), loops, strict=True):
        assert str(loop.params["body_jaxpr"]).count(f"f32[{rows},{4 * H}] = dot_general") == 2


def chosen(lengths, **shape):
    """The backend that is chosen for an LSTM, and what is said of the trimmed scan."""
    time, batch, features, hidden = (shape.get(name, size) for name, size in REFERENCE.items())
    weights = (features, 4, hidden), (hidden, 4, hidden), (4, hidden)
    params = core.LSTMParams(*(jax.ShapeDtypeStruct(size, "float32") for size in weights))
    x = jax.ShapeDtypeStruct((time, batch, features), "float32")
    found = core.resolve_backend(core.lstm_cell(), x, params, lengths=lengths, reverse=shape.get("reverse", False))
    return found.name, found.others.get("trimmed_scan")


def test_it_is_chosen_where_it_is_worth_compiling():
    lengths = np.full(64, 9)
    assert chosen(lengths) == chosen(lengths, reverse=True) == ("trimmed_scan", None)
    assert chosen(None) == ("fused_scan", "can serve, and gains nothing without lengths: by name only")
    reason = "takes longer to compile than it gains at 0.4 GFLOP for each direction"
    assert chosen(lengths, time=8) == ("fused_scan", f"can serve, and {reason}: by name only")


def test_without_lengths_it_is_the_fused_scan(rng):
    params = draw_params(rng, "lstm", D, H, np.float32)
    program = jax.make_jaxpr(lambda x: core.lstm(x, params, backend="trimmed_scan"))(jnp.zeros((T, B, D)))
    assert "kernel" not in str(program)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mask": np.ones((T, B), bool), "max_gradient": 1.0}, "does not support mask, max_gradient"),
        ({"resets": np.ones((T, B), bool)}, "does not support resets"),
        ({"lengths": np.zeros(0, int), "x": np.zeros((T, 0, D), np.float32)}, "needs at least one step and one row"),
    ],
)
def test_what_it_cannot_serve_is_refused_in_words(options, reason, rng):
    x = options.pop("x", np.zeros((T, B, D), np.float32))
    with pytest.raises(ValueError, match=f"got 'trimmed_scan', which {reason}"):
        core.lstm(x, draw_params(rng, "lstm", D, H, np.float32), backend="trimmed_scan", **options)
