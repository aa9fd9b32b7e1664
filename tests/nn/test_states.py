"""States: every step's, learnt initial ones, and what masks and resets do to them."""

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from layer_cases import (
    BATCH,
    FEATURES,
    HIDDEN,
    LENGTHS,
    TIME,
    TOLERANCE,
    VALID,
    assert_close,
    assert_states_close,
    call,
    call_all_states,
    draw_state,
    draw_x,
    make,
    of_cell,
    step,
)

from jaxrnn import core, nn

GAPS = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)  # holes; padding on the left; nothing


@pytest.fixture
def x(rng):
    return draw_x(rng)


class TestAllStates:
    def test_are_those_of_single_steps(self, x):
        layer = make("lstm", FEATURES, HIDDEN, 2)
        y, last, every = call_all_states(layer, x)
        state = None
        for t in range(TIME):
            _, state = step(layer, x[:, t], state)
            for part, steps in zip(state, every, strict=True):
                assert_close(steps[:, :, t], part)
        assert every.c.shape == (2, BATCH, TIME, HIDDEN)
        np.testing.assert_array_equal(every.h[1], y)
        jax.tree.map(np.testing.assert_array_equal, (y, last), call(layer, x))

    @pytest.mark.parametrize("widths", [[HIDDEN, HIDDEN], [HIDDEN, 3]], ids=["stacked", "different widths"])
    def test_in_both_directions_with_lengths(self, widths, x):
        layer = make("lstm", FEATURES, widths, bidirectional=True)
        _, _, every = call_all_states(layer, x, lengths=LENGTHS)
        h = x
        for depth in range(2):
            outputs = []
            for direction in range(2):
                k = 2 * depth + direction
                expected, _ = by_hand.run(layer.cells[k], h, valid=VALID, reverse=bool(direction))
                outputs.append(expected[0])
                for part, steps in zip(of_cell(every, k), expected, strict=True):
                    assert_close(part, steps)
            h = np.concatenate(outputs, axis=-1)

    def test_time_major_with_a_mask(self, x):
        """The cells first, then time and batch."""
        options = {"num_layers": 2, "bidirectional": True}
        a, b = make("gru", FEATURES, HIDDEN, **options), make("gru", FEATURES, HIDDEN, time_major=True, **options)
        y, last, every = call_all_states(a, x, mask=GAPS)
        y_2, last_2, every_2 = call_all_states(b, x.swapaxes(0, 1), mask=GAPS.T)
        np.testing.assert_array_equal(y, y_2.swapaxes(0, 1))
        np.testing.assert_array_equal(last.h, last_2.h)
        assert every_2.h.shape == (4, TIME, BATCH, HIDDEN)
        np.testing.assert_array_equal(every.h, every_2.h.swapaxes(1, 2))


class TestLearnState:
    @pytest.fixture
    def layer(self, rng):
        layer = make("lstm", FEATURES, HIDDEN, 2, learn_state=True)
        for cell in layer.cells:
            assert not np.any(cell.initial_h[...])
            assert not np.any(cell.initial_c[...])
            cell.initial_h[...], cell.initial_c[...] = rng.normal(size=(2, HIDDEN)).astype(np.float32)
        return layer

    @pytest.fixture
    def state(self, layer):
        """The learnt one, as one would give it."""
        parts = zip(*[(cell.initial_h[...], cell.initial_c[...]) for cell in layer.cells], strict=True)
        return core.LSTMState(*(np.tile(np.stack(part)[:, None], (1, BATCH, 1)) for part in parts))

    def test_is_where_a_sequence_starts(self, layer, state, x):
        y, last = call(layer, x, lengths=LENGTHS)
        jax.tree.map(np.testing.assert_array_equal, (y, last), call(layer, x, lengths=LENGTHS, state=state))
        assert np.abs(y - call(layer, x, lengths=LENGTHS, state=jax.tree.map(np.zeros_like, state))[0]).max() > 0.01
        for part, initial in zip(last, state, strict=True):
            np.testing.assert_array_equal(part[:, 1], initial[:, 1])  # the row of no steps

    def test_is_where_a_stream_starts(self, layer, state, x):
        actual = step(layer, x[:, 0], None)
        jax.tree.map(np.testing.assert_array_equal, actual, step(layer, x[:, 0], state))
        assert_close(actual[0], call(layer, x)[0][:, 0])

    def test_in_rnn(self, layer, state, x):
        run = nnx.jit(lambda rnn, x, state: rnn(x, state=state))
        rnn, first = nn.RNN(layer.cells[0]), jax.tree.map(lambda part: part[0], state)
        y, last = run(rnn, x, None)
        jax.tree.map(np.testing.assert_array_equal, (y, last), run(rnn, x, first))
        assert_close(y, by_hand.run(layer.cells[0], x, state=first)[0][0])

    def test_of_different_widths(self, x, rng):
        layer = make("elman", FEATURES, [HIDDEN, 3], learn_state=True)
        for cell in layer.cells:
            cell.initial_h[...] = rng.normal(size=cell.hidden_features).astype(np.float32)
        h = x
        for cell in layer.cells:
            (h,), _ = by_hand.run(cell, h, state=[np.tile(cell.initial_h[...], (BATCH, 1))])
        assert_close(call(layer, x)[0], h)

    def test_has_the_gradient_of_the_initial_state(self, layer, state, x):
        """Summed over the rows; none at all if a state is given."""

        @nnx.jit
        def gradients(layer, x, state):
            def loss(layer, state):
                y, last = layer(x, lengths=LENGTHS, state=state)
                return (y**2).sum() + last.c.sum()

            return nnx.grad(loss)(layer, None), nnx.grad(loss, argnums=(0, 1))(layer, state)

        learnt, (given, d_state) = gradients(layer, x, state)
        for k in range(2):
            for part, name in zip(d_state, ("initial_h", "initial_c"), strict=True):
                expected = part[k].sum(0)
                assert np.abs(expected).min() > 1e-6
                assert_close(learnt["cells"][k][name][...], expected, TOLERANCE * np.abs(expected).max())
                assert not np.any(given["cells"][k][name][...])


class TestMask:
    @pytest.mark.parametrize("name", ["lstm", "gru"])
    def test_with_gaps_and_padding_on_the_left(self, name, x, rng):
        """An invalid step has output zero and leaves the state; what x holds there changes nothing."""
        layer = make(name, FEATURES, HIDDEN, 2, bidirectional=True)
        state = draw_state(rng, layer)
        y, last = call(layer, np.where(GAPS[..., None], x, np.float32(np.nan)), mask=GAPS, state=state)
        h, states = x, []
        for depth in range(2):
            outputs = []
            for direction in range(2):
                k = 2 * depth + direction
                every, final = by_hand.run(
                    layer.cells[k], h, valid=GAPS, state=of_cell(state, k), reverse=bool(direction)
                )
                outputs.append(every[0])
                states.append(final)
            h = np.concatenate(outputs, axis=-1)
        assert_close(y, h)
        assert not np.any(y[~GAPS])
        assert_states_close(last, states)

    def test_of_the_lengths_is_the_lengths(self, x):
        layer = make("gru", FEATURES, HIDDEN, 2, bidirectional=True)
        expected = call(layer, x, lengths=LENGTHS)
        jax.tree.map(np.testing.assert_array_equal, call(layer, x, mask=VALID), expected)


class TestResets:
    """Several sequences in one row give what each gives by itself."""

    STARTS = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 1]], bool)  # a reset at the first step or not
    SPANS = ((0, 0, 2), (0, 2, 5), (1, 0, 5), (2, 0, 1), (2, 1, 4), (2, 4, 5))  # row, first step, end
    FIRST, LAST = np.array([0, 2, 3]), np.array([1, 2, 5])  # of each row's sequences

    def make(self, name, **options):
        """The LSTM starts from zeros, the GRU from a learnt state."""
        layer = make(name, FEATURES, HIDDEN, 2, bidirectional=True, learn_state=name == "gru", **options)
        if name == "gru":
            for k, cell in enumerate(layer.cells):
                cell.initial_h[...] = np.full(HIDDEN, 0.5 + k / 10, np.float32)
        return layer

    def separate(self, layer, x, spans):
        """Each sequence in a row of its own: outputs, put back where they came from, and states."""
        rows = np.zeros((len(spans), TIME, FEATURES), np.float32)
        for k, (row, start, end) in enumerate(spans):
            rows[k, : end - start] = x[row, start:end]
        y, last = call(layer, rows, lengths=np.array([end - start for _, start, end in spans]))
        together = np.zeros((BATCH, TIME, 2 * HIDDEN), np.float32)
        for k, (row, start, end) in enumerate(spans):
            together[row, start:end] = y[k, : end - start]
        return together, last

    def last_states(self, separate):
        """Forwards a row ends with its last sequence, backwards with its first."""
        ends = (self.LAST, self.FIRST) * 2
        return [tuple(part[k][end] for part in separate) for k, end in enumerate(ends)]

    @pytest.mark.parametrize("name", ["lstm", "gru"])
    def test_separate_a_row(self, name, x):
        layer = self.make(name)
        y, last = call(layer, x, resets=self.STARTS)
        expected, separate = self.separate(layer, x, self.SPANS)
        assert_close(y, expected)
        assert_states_close(last, self.last_states(separate))

    def test_time_major(self, x):
        y, last = call(self.make("gru", time_major=True), x.swapaxes(0, 1), resets=self.STARTS.T)
        expected, separate = self.separate(self.make("gru"), x, self.SPANS)
        assert_close(y.swapaxes(0, 1), expected)
        assert_states_close(last, self.last_states(separate))

    def test_with_padding(self, x):
        """The first row's second sequence is cut to one step; the second row has no steps."""
        layer = self.make("gru")
        y, _ = call(layer, x, resets=self.STARTS, lengths=np.array([3, 0, 5]))
        expected, _ = self.separate(layer, x, [(0, 0, 2), (0, 2, 3), *self.SPANS[3:]])
        assert_close(y, expected)


def test_dtypes_of_inputs_in_low_precision(x):
    """Outputs in that of the inputs, states in float32."""
    y, last, every = call_all_states(make("lstm"), jnp.asarray(x, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {part.dtype for part in (*last, *every)} == {jnp.dtype(jnp.float32)}
