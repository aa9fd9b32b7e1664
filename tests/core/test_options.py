"""What masks, resets, dropout, zoneout, bounds and chunks do, against plain loops and against separate runs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, out_width, run, run_and_pull
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrnn import core

TIME, BATCH, FEATURES, HIDDEN = 6, 4, 3, 4
TOLERANCE = 1e-12  # float64

names = st.sampled_from(["lstm_all", "gru_reset_before"])
seeds = st.integers(0, 2**16)
some = settings(max_examples=10, deadline=None, derandomize=True)

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture(scope="module")
def wide():
    with jax.enable_x64(True):
        yield


def draw(name, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(TIME, BATCH, FEATURES))
    return rng, x, draw_params(rng, name, FEATURES, HIDDEN), draw_state(rng, name, BATCH, HIDDEN)


def one_row(tree, row):
    return jax.tree.map(lambda a: a[..., row : row + 1, :], tree)


@given(name=names, seed=seeds, reverse=st.booleans())
@some
def test_a_mask_with_gaps_is_the_row_without_its_invalid_steps(name, seed, reverse):
    rng, x, params, state = draw(name, seed)
    mask = rng.random((TIME, BATCH)) < 0.5
    y, last = run(name, np.where(mask[..., None], x, np.nan), params, mask=mask, state=state, reverse=reverse)
    assert not np.any(y[~mask])
    for row in range(BATCH):
        valid = np.flatnonzero(mask[:, row])
        packed = np.full((TIME, 1, FEATURES), np.nan)  # of one shape, for one compilation
        packed[: len(valid), 0] = x[valid, row]
        expected, expected_last = run(
            name, packed, params, lengths=np.array([len(valid)]), state=one_row(state, row), reverse=reverse
        )
        np.testing.assert_allclose(y[valid, row], expected[: len(valid), 0], rtol=0, atol=TOLERANCE)
        assert_trees_close(one_row(last, row), expected_last, TOLERANCE)


@given(name=names, seed=seeds, reverse=st.booleans())
@some
def test_sequences_packed_by_resets_are_what_each_is_alone(name, seed, reverse):
    rng, x, params, state = draw(name, seed)
    resets = rng.random((TIME, BATCH)) < 0.4
    mask = rng.random((TIME, BATCH)) < 0.8
    d_y = rng.normal(size=(TIME, BATCH, out_width(name, HIDDEN)))
    zero = jax.tree.map(np.zeros_like, state)
    (y, last), (d_x, d_params, d_state) = run_and_pull(name, reverse=reverse)(
        x, params, state, None, (d_y, zero), mask=mask, resets=resets
    )
    total_params, total_state = jax.tree.map(np.zeros_like, (params, state))
    # The scan begins with the row's given state; each reset leads to zeros, as of a sequence that is run by itself.
    for row in range(BATCH):
        starts = [0, *(np.flatnonzero(resets[1:, row]) + 1), TIME]
        for start, stop in itertools.pairwise(starts):
            begins = stop == TIME if reverse else start == 0 and not resets[0, row]
            alone = np.zeros((TIME, 1), bool)
            alone[start:stop] = mask[start:stop, row : row + 1]
            (y_1, last_1), (d_x_1, d_params_1, d_state_1) = run_and_pull(name, reverse=reverse)(
                x[:, row : row + 1],
                params,
                one_row(state if begins else zero, row),
                None,
                (d_y[:, row : row + 1], one_row(zero, row)),
                mask=alone,
            )
            np.testing.assert_allclose(y[start:stop, row], y_1[start:stop, 0], rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(d_x[start:stop, row], d_x_1[start:stop, 0], rtol=0, atol=1e2 * TOLERANCE)
            total_params = jax.tree.map(np.add, total_params, d_params_1)
            for total, part in zip(total_state, d_state_1, strict=True):
                total[row] += part[0] if begins else 0
            if (start == 0) if reverse else (stop == TIME):  # the one that the scan ends with
                assert_trees_close(one_row(last, row), last_1, TOLERANCE)
    assert_trees_close((d_params, d_state), jax.tree.map(jnp.asarray, (total_params, total_state)), 1e2 * TOLERANCE)


def test_a_reset_leads_to_the_reset_state():
    rng, x, params, state = draw("lstm")
    reset_state = draw_state(rng, "lstm", BATCH, HIDDEN)
    resets = np.zeros((TIME, BATCH), bool)
    resets[3] = True
    y, last = run("lstm", x, params, state=state, reset_state=reset_state, resets=resets)
    first, _ = run("lstm", x[:3], params, state=state)
    second, expected = run("lstm", x[3:], params, state=reset_state)
    np.testing.assert_allclose(y, np.concatenate([first, second]), rtol=0, atol=TOLERANCE)
    assert_trees_close(last, expected, TOLERANCE)


def sigma(a):
    return 1 / (1 + np.exp(-a))


def gru_loop(x, p, h, dropout, zoneout):
    """The GRU of `reset_after` with recurrent dropout and zoneout, from their papers' equations."""
    outputs = []
    for t in range(TIME):
        u = np.einsum("bd,dgh->bgh", x[t], p.w_x) + p.b
        v = np.einsum("bk,kgh->bgh", h * dropout, p.w_h)
        r, z = sigma(u[:, 0] + v[:, 0]), sigma(u[:, 1] + v[:, 1])
        new = (1 - z) * np.tanh(u[:, 2] + r * (v[:, 2] + p.b_hn)) + z * h
        kept = zoneout[t] if np.ndim(zoneout) else zoneout
        h = kept * h + (1 - kept) * new
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("backend", ["fused_scan", "reference"])
@pytest.mark.parametrize("expectation", [False, True])
def test_recurrent_dropout_and_zoneout(backend, expectation):
    rng, x, params, state = draw("gru_reset_after")
    dropout = (rng.random((BATCH, HIDDEN)) < 0.6) / 0.6
    zoneout = 0.3 if expectation else rng.random((TIME, BATCH, HIDDEN)) < 0.3
    y, last = run(
        "gru_reset_after",
        x,
        params,
        state=state,
        recurrent_dropout=dropout,
        zoneout=core.GRUState(zoneout),
        backend=backend,
    )
    expected = gru_loop(x, params, state.h, dropout, zoneout)
    np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(last.h, expected[-1], rtol=0, atol=TOLERANCE)


def test_zoneout_of_one_part_of_the_state():
    _, x, params, state = draw("lstm")
    _, kept = run("lstm", x, params, state=state, zoneout=core.LSTMState(None, np.ones((TIME, BATCH, HIDDEN), bool)))
    np.testing.assert_array_equal(kept.c, state.c)
    assert np.abs(kept.h - state.h).max() > 0.1
    _, kept = run("lstm", x, params, state=state, zoneout=core.LSTMState(1.0, None))
    np.testing.assert_allclose(kept.h, state.h, rtol=0, atol=TOLERANCE)
    assert np.abs(kept.c - state.c).max() > 0.1


@pytest.mark.parametrize("name", ["lstm_all", "gru_reset_before"])
def test_the_states_of_all_steps(name):
    _, x, params, state = draw(name)
    lengths = np.array([6, 0, 3, 1])
    every, last = run(name, x, params, lengths=lengths, state=state, all_states=True)
    y, expected_last = run(name, x, params, lengths=lengths, state=state)
    np.testing.assert_array_equal(every.h, y)
    assert_trees_close(last, expected_last, TOLERANCE)
    s = state
    for t in range(TIME):
        s = core.step(CELLS[name], x[t], params, s)
        for part, value in zip(every, s, strict=True):
            valid = (t < lengths)[:, None]
            np.testing.assert_allclose(part[t], np.where(valid, value, 0), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 4, 6, 100])
def test_chunks_change_no_number(chunk):
    rng, x, params, state = draw("lstm_all")
    d_y = rng.normal(size=(TIME, BATCH, out_width("lstm_all", HIDDEN)))
    for reverse, lengths in ((False, np.array([6, 0, 3, 5])), (True, None)):
        arguments = x, params, state, lengths, (d_y, draw_state(rng, "lstm_all", BATCH, HIDDEN))
        expected = run_and_pull("lstm_all", reverse=reverse)(*arguments)
        actual = run_and_pull("lstm_all", reverse=reverse, remat_chunk=chunk)(*arguments)
        assert_trees_close(actual, expected, TOLERANCE)


def test_chunks_save_only_the_states_between_them():
    """Seen in the program: no array with the whole time but inputs and outputs leaves the forward loop."""
    time, chunk = 100, 10
    _, _, params, _ = draw("lstm")
    x = jnp.ones((time, BATCH, FEATURES))

    def stacked(remat_chunk):
        program = jax.make_jaxpr(
            jax.grad(lambda p: core.lstm(x, p, remat_chunk=remat_chunk)[0].sum()),
        )(jax.tree.map(jnp.asarray, params))
        outer = [eqn for eqn in program.jaxpr.eqns if eqn.primitive.name == "scan"]
        return sum(np.prod(v.aval.shape) for v in outer[0].outvars)

    assert stacked(None) >= 6 * time * BATCH * HIDDEN
    assert stacked(chunk) <= (time + 2 * time // chunk + 2) * BATCH * HIDDEN  # the outputs, and states between chunks


@pytest.mark.parametrize("backend", ["fused_scan", "reference"])
def test_the_bound_on_the_gradient_through_time(backend):
    """h_t = h_{t-1} + w x_t with a weight of 1: the gradient of each step is clipped before it goes on."""
    one = np.ones((1, 1, 1))
    params = core.ElmanParams(one, 2 * one, np.zeros((1, 1)))
    x = np.ones((4, 1, 1))
    # d_t, the gradient on h_t, doubles on its way back: 1, 2, 4, 8, 16 without a bound, 1, 2, 3, 3, 3 clipped at 3.
    for bound, initial, first_input in ((None, 16.0, 8.0), (3.0, 3.0, 3.0)):

        def last(x, h, bound=bound):
            return core.elman(
                x, params, activation="relu", state=core.ElmanState(h), max_gradient=bound, backend=backend
            )[1].h[0, 0]

        d_x, d_h = jax.grad(last, argnums=(0, 1))(x, np.ones((1, 1)))
        assert (float(d_h[0, 0]), float(d_x[0, 0, 0])) == (initial, first_input)


@pytest.mark.parametrize("backend", ["fused_scan", "reference"])
def test_padding_does_not_bound_the_gradient(backend):
    """A gradient of 5 reaches the last valid step as it is, however many held steps it passes on its way."""
    params = core.ElmanParams(np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.zeros((1, 1)))
    for time in (2, 4):

        def last(x):
            options = {"activation": "relu", "lengths": np.array([2]), "max_gradient": 3.0, "backend": backend}
            return 5 * core.elman(x, params, **options)[1].h[0, 0]

        assert jax.grad(last)(np.ones((time, 1, 1))).ravel().tolist() == [3, 5, 0, 0][:time]
