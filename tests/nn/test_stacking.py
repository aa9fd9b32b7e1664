"""How layers are put together: directions merged, connections around layers, widths of their own; against NumPy."""

import by_hand
import jax
import numpy as np
import pytest
from flax import nnx
from layer_cases import (
    BATCH,
    FEATURES,
    HIDDEN,
    LENGTHS,
    TIME,
    VALID,
    assert_close,
    assert_states_close,
    call,
    draw_state,
    draw_x,
    make,
    of_cell,
)

MERGES = {
    "concat": lambda a, b: np.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
}


@pytest.fixture
def x(rng):
    """With NaN in the padding, which connections around a layer must not let through."""
    return np.where(VALID[..., None], draw_x(rng), np.float32(np.nan))


def input_widths(layer):
    return [cell.in_features for cell in layer.cells]


@pytest.mark.parametrize("merge", MERGES)
def test_merge(merge, x):
    layer = make("elman", FEATURES, HIDDEN, 2, bidirectional=True, merge=merge)
    y, state = call(layer, x, lengths=LENGTHS)
    h, states = x, []
    for depth in range(2):
        forward, backward, last = by_hand.both(layer, depth, h, valid=VALID)
        h = MERGES[merge](forward, backward)
        states += last
    assert_close(y, h)
    assert_states_close(state, states)
    assert layer.out_features == y.shape[-1] == (2 * HIDDEN if merge == "concat" else HIDDEN)


def test_residual(x):
    """Every layer but the first adds its input to its output."""
    layer = make("elman", FEATURES, HIDDEN, 3, connections="residual")
    y, state = call(layer, x, lengths=LENGTHS)
    h, states = x, []
    for depth, cell in enumerate(layer.cells):
        (out,), last = by_hand.run(cell, h, valid=VALID)
        h = out if depth == 0 else h + out
        states.append(last)
    assert_close(y, h)
    assert_states_close(state, states)


@pytest.mark.parametrize("merge", ["concat", "mean"])
def test_residual_in_both_directions(merge, x):
    """It is the merged outputs that the input is added to."""
    layer = make("gru", FEATURES, HIDDEN, 2, bidirectional=True, merge=merge, connections="residual")
    y, _ = call(layer, x, lengths=LENGTHS)
    below = MERGES[merge](*by_hand.both(layer, 0, x, valid=VALID)[:2])
    assert_close(y, below + MERGES[merge](*by_hand.both(layer, 1, below, valid=VALID)[:2]))


def test_dense(x):
    """A layer's input is all that came before; the output is the last layer's alone."""
    layer = make("elman", FEATURES, HIDDEN, 3, connections="dense")
    assert input_widths(layer) == [FEATURES, FEATURES + HIDDEN, FEATURES + 2 * HIDDEN]
    y, state = call(layer, x, lengths=LENGTHS)
    before, states = x, []
    for cell in layer.cells:
        (out,), last = by_hand.run(cell, before, valid=VALID)
        before = np.concatenate([before, out], axis=-1)
        states.append(last)
    assert_close(y, out)
    assert_states_close(state, states)
    assert layer.out_features == y.shape[-1] == HIDDEN


def test_dense_in_both_directions_of_different_widths(x):
    layer = make("lstm", FEATURES, [HIDDEN, 3], bidirectional=True, connections="dense")
    assert input_widths(layer) == [FEATURES] * 2 + [FEATURES + 2 * HIDDEN] * 2
    y, _ = call(layer, x, lengths=LENGTHS)
    below = MERGES["concat"](*by_hand.both(layer, 0, x, valid=VALID)[:2])
    above = by_hand.both(layer, 1, np.concatenate([x, below], axis=-1), valid=VALID)
    assert_close(y, MERGES["concat"](*above[:2]))


def test_the_padding_has_no_gradient_through_dense_connections(x):
    layer = make("elman", FEATURES, HIDDEN, 2, connections="dense", bidirectional=True)

    @nnx.jit
    def gradients(layer, x):
        return nnx.grad(lambda layer, x: layer(x, lengths=LENGTHS)[0].sum(), argnums=(0, 1))(layer, x)

    d_layer, d_x = gradients(layer, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(d_layer))
    assert not np.any(d_x[~VALID])
    assert np.all(d_x[VALID] != 0)


def test_different_widths(x, rng):
    layer = make("lstm", FEATURES, [HIDDEN, 3, 5], 3)
    state = draw_state(rng, layer)
    y, last = call(layer, x, lengths=LENGTHS, state=state)
    h, states = x, []
    for k, cell in enumerate(layer.cells):
        (h, _), final = by_hand.run(cell, h, valid=VALID, state=of_cell(state, k))
        states.append(final)
    assert_close(y, h)
    assert type(last) is tuple
    assert [part.h.shape for part in last] == [part.c.shape for part in last] == [(BATCH, n) for n in (HIDDEN, 3, 5)]
    assert_states_close(last, states)
    assert layer.num_layers == 3


def test_states_of_different_widths_in_both_directions_go_back_in(x, rng):
    layer = make("gru", FEATURES, [HIDDEN, 3], bidirectional=True)
    state = draw_state(rng, layer)
    _, last = call(layer, x, lengths=LENGTHS, state=state)
    assert [part.h.shape[-1] for part in last] == [HIDDEN, HIDDEN, 3, 3]
    for part, initial in zip(last, state, strict=True):
        np.testing.assert_array_equal(part.h[1], initial.h[1])  # the row of no steps
    y, _ = call(layer, x, lengths=LENGTHS, state=last)
    below = [by_hand.run(layer.cells[k], x, valid=VALID, state=last[k], reverse=k == 1)[0][0] for k in range(2)]
    h = MERGES["concat"](*below)
    above = [by_hand.run(layer.cells[k], h, valid=VALID, state=last[k], reverse=k == 3)[0][0] for k in (2, 3)]
    assert_close(y, MERGES["concat"](*above))


def test_a_list_of_equal_widths_is_one_width(x):
    a, b = make("gru", FEATURES, HIDDEN, 2), make("gru", FEATURES, [HIDDEN, HIDDEN])
    actual, expected = call(b, x), call(a, x)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    assert actual[1].h.shape == (2, BATCH, HIDDEN)
    assert make("gru", FEATURES, [HIDDEN]).num_layers == 1


def test_projection(x):
    layer = make("lstm", FEATURES, HIDDEN, 2, projection_features=2, bidirectional=True)
    y, state = call(layer, x, lengths=LENGTHS)
    h, states = x, []
    for depth in range(2):
        forward, backward, last = by_hand.both(layer, depth, h, valid=VALID)
        h = MERGES["concat"](forward, backward)
        states += last
    assert y.shape == (BATCH, TIME, 4)
    assert (state.h.shape, state.c.shape) == ((4, BATCH, 2), (4, BATCH, HIDDEN))
    assert_close(y, h)
    assert_states_close(state, states)
