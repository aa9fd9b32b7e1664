"""The scan without the rows that have ended: several blocks and numbers of rows, and the last of each cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, garbage_in_padding, out_width

from jaxrnn import core
from jaxrnn.core import trimmed_scan
from jaxrnn.core.control import Loop

T, B, D, H = 7, 5, 3, 4
LENGTHS = np.array([3, 0, 7, 1, 4])
FAST = [("lstm", True, False), ("gru_norm", False, True)]
CASES = [(name, reverse, all_states) for name in CELLS for reverse in (False, True) for all_states in (False, True)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 3 steps, the last of one step; 2, 4 or all 5 rows, or none."""
    monkeypatch.setattr(trimmed_scan, "BLOCK", 3)
    monkeypatch.setattr(trimmed_scan, "ROWS", 1)
    monkeypatch.setattr(trimmed_scan, "NUM_SIZES", 3)


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
    """Gradients of the weights have the dtype of the weights, and are summed over the blocks in float32."""
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), draw_params(rng, "lstm", D, H))
    x = jnp.asarray(rng.normal(size=(T, B, D)), jnp.float32)

    @jax.jit
    def gradients(x, params):
        def loss(x, params, backend):
            return (core.lstm(x, params, lengths=LENGTHS, backend=backend)[0] ** 2).sum()

        return [jax.grad(loss, argnums=(0, 1))(x, params, b) for b in ("trimmed_scan", "fused_scan")]

    assert_trees_close(*gradients(x, params), 4 * float(jnp.finfo(jnp.bfloat16).eps))


def test_which_rows_each_block_computes():
    """Longest first, the rows are 2, 4, 0, 3, 1; of them 4 have a step from 0 on, 2 from 3 on, 1 from 6 on."""
    blocks = trimmed_scan._Blocks(jnp.asarray(LENGTHS), T)
    assert blocks.order.tolist() == [2, 4, 0, 3, 1]
    assert blocks.sizes == [0, 2, 4, 5]
    assert blocks.size.tolist() == [2, 1, 1]
    assert blocks.switch(blocks.size[0], lambda rows, x: x + rows, 0.5) == 4.5


def test_sizes_at_the_scale_they_are_made_for(monkeypatch):
    monkeypatch.undo()
    for batch, sizes in ((5, [0, 5]), (64, [*range(0, 65, 8)]), (100, [*range(0, 97, 16), 100])):
        assert trimmed_scan._Blocks(jnp.ones(batch, int), T).sizes == sizes


def test_products_are_over_the_rows_of_each_size(rng):
    """In the program: each of the switch's branches has the projection of its block and one step's product."""
    params = jax.tree.map(jnp.asarray, draw_params(rng, "lstm", D, H, np.float32))
    state = core.LSTMState(jnp.zeros((B, H)), jnp.zeros((B, H)))
    arguments = jnp.zeros((T, B, D)), params, state
    program = jax.make_jaxpr(lambda a, n: trimmed_scan._forward(Loop(CELLS["lstm"]), a, n))(arguments, LENGTHS)
    [scan] = [eqn for eqn in program.eqns if eqn.primitive.name == "scan"]
    [switch] = [eqn for eqn in scan.params["jaxpr"].eqns if eqn.primitive.name == "cond"]
    for rows, branch in zip((0, 2, 4, 5), switch.params["branches"], strict=True):
        text = str(branch)
        assert f"f32[{3 * rows},{4 * H}] = dot_general" in text
        assert f"f32[{rows},{4 * H}] = dot_general" in text


def test_without_lengths_it_is_the_fused_scan(rng):
    params = draw_params(rng, "lstm", D, H, np.float32)
    program = jax.make_jaxpr(lambda x: core.lstm(x, params, backend="trimmed_scan"))(jnp.zeros((T, B, D)))
    assert "kernel" not in str(program)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mask": np.ones((T, B), bool), "max_gradient": 1.0}, "knows no mask, max_gradient"),
        ({"resets": np.ones((T, B), bool)}, "knows no resets"),
        ({"lengths": np.zeros(0, int), "x": np.zeros((T, 0, D), np.float32)}, "needs at least one step and one row"),
    ],
)
def test_what_it_cannot_serve_is_refused_in_words(options, reason, rng):
    x = options.pop("x", np.zeros((T, B, D), np.float32))
    with pytest.raises(ValueError, match=f"got 'trimmed_scan', which {reason}"):
        core.lstm(x, draw_params(rng, "lstm", D, H, np.float32), backend="trimmed_scan", **options)
