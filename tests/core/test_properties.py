"""What holds whatever the lengths, the split or the padding: DESIGN section 4, on random cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import (
    CELLS,
    assert_trees_close,
    draw_params,
    draw_state,
    garbage_in_padding,
    out_width,
    run,
    run_and_pull,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrnn import core

TIME, BATCH, FEATURES, HIDDEN = 5, 4, 3, 4
TOLERANCE = 1e-13  # float64: the same sums, perhaps in another order

cells = st.sampled_from(list(CELLS))
all_lengths = st.lists(st.integers(0, TIME), min_size=BATCH, max_size=BATCH).map(np.array)
seeds = st.integers(0, 2**16)
some = settings(max_examples=25, deadline=None, derandomize=True)

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture(scope="module")
def wide():
    with jax.enable_x64(True):
        yield


def draw(name, seed):
    """x [time, batch, features], weights, initial state, and cotangents of outputs and final state."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(TIME, BATCH, FEATURES))
    params, state = draw_params(rng, name, FEATURES, HIDDEN), draw_state(rng, name, BATCH, HIDDEN)
    return (
        x,
        params,
        state,
        (rng.normal(size=(TIME, BATCH, out_width(name, HIDDEN))), draw_state(rng, name, BATCH, HIDDEN)),
    )


@given(name=cells, lengths=all_lengths, k=st.integers(0, TIME), seed=seeds)
@some
def test_a_split_sequence_continues(name, lengths, k, seed):
    x, params, state, _ = draw(name, seed)
    y, last = run(name, x, params, lengths=lengths, state=state)
    y_1, middle = run(name, x[:k], params, lengths=np.minimum(lengths, k), state=state)
    y_2, last_2 = run(name, x[k:], params, lengths=np.maximum(lengths - k, 0), state=middle)
    assert_trees_close((jnp.concatenate([y_1, y_2]), last_2), (y, last), TOLERANCE)


@given(
    name=cells, lengths=all_lengths, seed=seeds, reverse=st.booleans(), garbage=st.sampled_from([np.nan, np.inf, 1e3])
)
@some
def test_padding_changes_nothing(name, lengths, seed, reverse, garbage):
    x, params, state, (d_y, d_last) = draw(name, seed)
    (y, last), gradients = run_and_pull(name, reverse=reverse)(
        garbage_in_padding(x, lengths, 0), params, state, lengths, (d_y, d_last)
    )
    more = np.full((TIME + 3, BATCH, FEATURES), garbage)
    more[:TIME] = garbage_in_padding(x, lengths, garbage)
    # What arrives from the outputs past a length, even NaN, changes nothing either: those outputs are constants.
    d_more = np.full((TIME + 3, *d_y.shape[1:]), garbage)
    d_more[:TIME] = garbage_in_padding(d_y, lengths, garbage)
    (y_2, last_2), gradients_2 = run_and_pull(name, reverse=reverse)(more, params, state, lengths, (d_more, d_last))

    assert_trees_close((y_2[:TIME], last_2), (y, last), TOLERANCE)
    assert_trees_close((gradients_2[0][:TIME], *gradients_2[1:]), gradients, TOLERANCE)
    for row, length in enumerate(lengths):
        assert not np.any(y_2[length:, row])
        assert not np.any(gradients_2[0][length:, row])  # exactly zero
        assert length == 0 or np.all(np.any(gradients_2[0][:length, row], axis=-1)) or name == "elman_relu"


@given(name=cells, lengths=all_lengths, seed=seeds, order=st.permutations(range(BATCH)), reverse=st.booleans())
@some
def test_rows_are_independent(name, lengths, seed, order, reverse):
    x, params, state, cotangents = draw(name, seed)
    f = run_and_pull(name, reverse=reverse)
    (y, last), (d_x, d_params, d_state) = f(x, params, state, lengths, cotangents)
    order = np.array(order)

    def permute(tree):  # the batch is the next to last axis of everything
        return jax.tree.map(lambda a: a[..., order, :], tree)

    results, gradients = f(permute(x), params, permute(state), lengths[order], permute(cotangents))
    expected = permute((y, last)), (permute(d_x), d_params, permute(d_state))
    assert_trees_close((results, gradients), expected, TOLERANCE)

    # One row stays as it is when all others are other numbers of other lengths.
    row = order[0]
    other_x, _, other_state, _ = draw(name, seed + 1)
    other_x[:, row] = x[:, row]
    for part, value in zip(other_state, state, strict=True):
        part[row] = value[row]
    other_lengths = TIME - lengths
    other_lengths[row] = lengths[row]
    (y_2, last_2), (d_x_2, _, d_state_2) = f(other_x, params, other_state, other_lengths, cotangents)

    def take(tree):
        return jax.tree.map(lambda a: a[..., row, :], tree)

    assert_trees_close(take((y_2, last_2, d_x_2, d_state_2)), take((y, last, d_x, d_state)), TOLERANCE)


@given(name=cells, lengths=all_lengths, seed=seeds, t=st.integers(0, TIME - 1), reverse=st.booleans())
@some
def test_causality(name, lengths, seed, t, reverse):
    """The output at t depends on the inputs up to t of its own row (from t on in reverse), and on no others."""
    x, params, state, (d_y, d_last) = draw(name, seed)
    only_t = np.zeros_like(d_y)
    only_t[t] = d_y[t]
    nothing = jax.tree.map(np.zeros_like, d_last)
    _, (d_x, _, _) = run_and_pull(name, reverse=reverse)(x, params, state, lengths, (only_t, nothing))
    unseen = d_x[:t] if reverse else d_x[t + 1 :]
    assert not np.any(unseen)
    assert name == "elman_relu" or np.array_equal(np.any(d_x[t], axis=-1), lengths > t)


@given(name=cells, lengths=all_lengths, seed=seeds)
@some
def test_reverse_is_each_row_flipped_within_its_length(name, lengths, seed):
    x, params, state, _ = draw(name, seed)

    def flip(a):
        a = np.array(a)
        for row, length in enumerate(lengths):
            a[:length, row] = a[:length, row][::-1]
        return a

    y, last = run(name, flip(x), params, lengths=lengths, state=state)
    y_2, last_2 = run(name, x, params, lengths=lengths, state=state, reverse=True)
    assert_trees_close((y_2, last_2), (flip(y), last), TOLERANCE)


@given(name=cells, lengths=all_lengths, seed=seeds, empty=st.integers(0, BATCH - 1), reverse=st.booleans())
@some
def test_an_empty_row_returns_its_initial_state(name, lengths, seed, empty, reverse):
    x, params, state, cotangents = draw(name, seed)
    lengths[empty] = 0
    (y, last), (d_x, _, d_state) = run_and_pull(name, reverse=reverse)(x, params, state, lengths, cotangents)
    assert not np.any(y[:, empty])
    assert not np.any(d_x[:, empty])
    for part, initial in zip(last, state, strict=True):
        np.testing.assert_array_equal(part[empty], initial[empty])
    for part, arrived in zip(d_state, cotangents[1], strict=True):  # the state passed through untouched
        np.testing.assert_array_equal(part[empty], arrived[empty])


@given(name=cells, lengths=all_lengths, seed=seeds)
@settings(some, max_examples=8)
def test_steps_one_by_one_equal_the_sequence(name, lengths, seed):
    x, params, state, _ = draw(name, seed)
    y, last = run(name, x, params, lengths=lengths, state=state)
    one_step = jax.jit(lambda x, params, state: core.step(CELLS[name], x, params, state))
    states = [state]
    for x_t in x:
        states.append(one_step(x_t, params, states[-1]))
    for row, length in enumerate(lengths):
        expected = [s.h[row] for s in states[1 : length + 1]]
        np.testing.assert_allclose(y[:length, row], np.reshape(expected, (length, y.shape[-1])), rtol=0, atol=TOLERANCE)
        for part, value in zip(last, states[length], strict=True):
            np.testing.assert_allclose(part[row], value[row], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", CELLS)
def test_an_ensemble_by_vmap_over_the_weights(name):
    x, params, state, cotangents = draw(name, 0)
    lengths = np.array([5, 0, 3, 1])
    many = jax.tree.map(lambda a: np.stack([a, 0.5 * a, -a]), params)
    f = run_and_pull(name)
    together = jax.jit(jax.vmap(f, in_axes=(None, 0, None, None, None)))(x, many, state, lengths, cotangents)
    for k in range(3):
        member = jax.tree.map(lambda a, k=k: a[k], many)
        expected = f(x, member, state, lengths, cotangents)
        assert_trees_close(jax.tree.map(lambda a, k=k: a[k], together), expected, TOLERANCE)


@pytest.mark.parametrize("wrap", [jax.checkpoint, lambda f: f], ids=["remat", "without_jit"])
def test_under_remat_and_without_jit(wrap):
    x, params, state, cotangents = draw("gru_reset_after", 0)
    lengths = np.array([5, 0, 3, 1])
    expected = run_and_pull("gru_reset_after")(x, params, state, lengths, cotangents)

    @wrap
    def unroll(x, params, state):
        return core.gru(x, params, lengths=lengths, state=state)

    results, pull = jax.vjp(unroll, x, params, state)
    assert_trees_close((results, pull(cotangents)), expected, TOLERANCE)
