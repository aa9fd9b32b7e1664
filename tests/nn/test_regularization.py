"""Dropout of every kind and zoneout: what is dropped, when, and by which key.

Where masks have to be seen, a layer is built that shows them: an Elman network with φ = ReLU whose weights are ones,
zeros or the identity.
"""

import by_hand
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from layer_cases import (
    BATCH,
    FEATURES,
    HIDDEN,
    LENGTHS,
    VALID,
    assert_close,
    call,
    call_all_states,
    draw_state,
    draw_x,
    make,
    of_cell,
    step,
)

from jaxrnn import core, nn

RATE = 0.25
KEY = 5


def constant(make):
    return lambda key, shape, dtype: make(shape).astype(dtype)


IDENTITY, ZEROS, ONES = constant(lambda shape: jnp.eye(*shape)), constant(jnp.zeros), constant(jnp.ones)


def plain(*args, w_x, w_h, seed=0, **options):
    """An Elman network with ReLU, these weights and no bias."""
    init = nn.Initializers(w_x=w_x, w_h=w_h)
    return nn.Elman(*args, activation="relu", init=init, rngs=nnx.Rngs(seed), **options)


def assert_share(mask, rate):
    """The share of the mask's true elements is the rate, within four standard deviations."""
    assert abs(np.mean(mask) - rate) < 4 * np.sqrt(rate * (1 - rate) / np.size(mask))


def assert_dropped(factors, rate=RATE):
    """Zeros as often as the rate says, and 1/(1 - rate) elsewhere, so that the mean is preserved."""
    factors = np.asarray(factors)
    np.testing.assert_allclose(factors[factors != 0], 1 / (1 - rate), rtol=1e-6)
    assert_share(factors == 0, rate)


@pytest.mark.parametrize(
    "options",
    [
        {"input_dropout_rate": RATE},
        {"dropout_rate": RATE},
        {"output_dropout_rate": RATE},
        {"dropout_rate": RATE, "variational_dropout": True},
        {"recurrent_dropout_rate": RATE},
        {"zoneout_rate": RATE},
        {"weight_drop_rate": RATE},
    ],
    ids=lambda options: ", ".join(options),
)
class TestEach:
    def layer(self, options):
        return make("elman", FEATURES, HIDDEN, 2, **options)

    def test_the_key_decides(self, options, rng):
        layer, x = self.layer(options), draw_x(rng)
        a, b, c = (call(layer, x, rngs=nnx.Rngs(dropout=key))[0] for key in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 1e-3

    def test_is_off_at_evaluation(self, options, rng):
        """To the last bit; of zoneout the expectation stays."""
        layer, x = self.layer(options), draw_x(rng)
        layer.eval()
        y, _ = call(layer, x)
        np.testing.assert_array_equal(y, call(layer, x)[0])
        if "zoneout_rate" not in options:
            np.testing.assert_array_equal(y, call(self.layer({}), x)[0])


def test_without_a_key_at_the_call_the_layers_own_stream_is_used(rng):
    """The masks differ from call to call, and repeat with the seed."""
    options = {"dropout_rate": RATE, "recurrent_dropout_rate": RATE}
    layer, again, x = (
        make("elman", FEATURES, HIDDEN, 2, **options),
        make("elman", FEATURES, HIDDEN, 2, **options),
        draw_x(rng),
    )
    layer.eval()
    layer.train()
    first, second = call(layer, x)[0], call(layer, x)[0]
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(call(again, x)[0], first)
    np.testing.assert_array_equal(call(again, x)[0], second)


@pytest.mark.parametrize("site", ["input_dropout_rate", "dropout_rate", "output_dropout_rate"])
class TestAroundLayers:
    """Seen by two layers that hand ones through."""

    BATCH, TIME, WIDTH = 4, 20, 25

    def factors(self, site, *, time_major=False, **options):
        layer = plain(
            self.WIDTH, self.WIDTH, 2, w_x=IDENTITY, w_h=ZEROS, time_major=time_major, **{site: RATE}, **options
        )
        ones = np.ones((self.BATCH, self.TIME, self.WIDTH), np.float32)
        y = np.asarray(call(layer, ones.swapaxes(0, 1) if time_major else ones)[0])
        return y.swapaxes(0, 1) if time_major else y

    def test_differs_between_rows_and_steps(self, site):
        factors = self.factors(site)
        assert_dropped(factors)
        for axis in (0, 1):
            assert_share(np.diff(factors, axis=axis) != 0, 2 * RATE * (1 - RATE))

    @pytest.mark.parametrize("time_major", [False, True], ids=["batch-major", "time-major"])
    def test_variational_is_the_same_at_all_steps_of_a_row(self, site, time_major):
        factors = self.factors(site, time_major=time_major, variational_dropout=True)
        np.testing.assert_array_equal(factors, factors[:, :1].repeat(self.TIME, 1))
        assert_dropped(factors[:, 0])
        assert_share(np.diff(factors[:, 0], axis=0) != 0, 2 * RATE * (1 - RATE))

    @pytest.mark.parametrize("variational", [False, True], ids=["plain", "variational"])
    def test_in_a_step(self, site, variational):
        layer = plain(
            self.WIDTH, self.WIDTH, 2, w_x=IDENTITY, w_h=ZEROS, variational_dropout=variational, **{site: RATE}
        )
        y, _ = step(layer, np.ones((60, self.WIDTH), np.float32), None)
        assert_dropped(y)
        assert_share(np.diff(y, axis=0) != 0, 2 * RATE * (1 - RATE))
        assert np.any(step(layer, np.ones((60, self.WIDTH), np.float32), None)[0] != y)


def test_dropout_is_between_layers_only():
    """Not before the first, not after the last; three layers have two masks, each of its own."""
    ones = np.ones((4, 20, 25), np.float32)
    layer = plain(25, 25, 3, w_x=IDENTITY, w_h=ZEROS, dropout_rate=RATE)
    y, _, every = call_all_states(layer, ones)
    np.testing.assert_array_equal(every.h[0], 1)
    assert_dropped(every.h[1])
    assert_share(every.h[2] == 0, 1 - (1 - RATE) ** 2)
    np.testing.assert_array_equal(y, every.h[2])
    np.testing.assert_array_equal(call(plain(25, 25, w_x=IDENTITY, w_h=ZEROS, dropout_rate=RATE), ones)[0], 1)


class TestDropoutWithConnections:
    """The output of each layer but the last is dropped once, and what goes around a layer not with it.

    Three layers that add up what they are given: their outputs tell the masks a and b of the first two.
    """

    def outputs(self, connections):
        add_up = constant(lambda shape: jnp.tile(jnp.eye(25), (shape[0] // 25, 1)))
        layer = plain(25, 25, 3, w_x=add_up, w_h=ZEROS, dropout_rate=RATE, connections=connections)
        return np.asarray(call_all_states(layer, np.ones((4, 20, 25), np.float32))[2].h)

    def test_residual(self):
        first, second, third = self.outputs("residual")
        np.testing.assert_array_equal(first, 1)
        assert_dropped(second)  # a
        kept = second > 0
        assert_dropped(third[kept] / second[kept] - 1)  # a + a b
        np.testing.assert_array_equal(third[~kept], 0)

    def test_dense(self):
        first, second, third = self.outputs("dense")
        np.testing.assert_array_equal(first, 1)
        assert_dropped(second - 1)  # 1 + a
        assert_dropped(third / second - 1)  # 1 + a + (1 + a) b


class TestRecurrentDropout:
    def masks(self, layer):
        """Of every cell, from a twin that multiplies a state of ones by them."""
        width, cells = layer.cells[0].out_features, len(layer.cells)
        twin = plain(
            FEATURES,
            width,
            layer.num_layers,
            w_x=ZEROS,
            w_h=IDENTITY,
            bidirectional=layer.num_directions == 2,
            recurrent_dropout_rate=RATE,
        )
        state = core.ElmanState(np.ones((cells, BATCH, width), np.float32))
        x = np.zeros((BATCH, 1, FEATURES), np.float32)
        return np.asarray(call(twin, x, state=state, rngs=nnx.Rngs(dropout=KEY))[1].h)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("elman", {}),
            ("lstm", {"num_layers": 2, "bidirectional": True}),
            ("lstm", {"projection_features": 3}),
            ("gru", {}),
            ("gru", {"reset_after": False}),
        ],
    )
    def test_multiplies_h_before_the_recurrent_products(self, name, options, rng):
        layer = make(name, FEATURES, HIDDEN, recurrent_dropout_rate=RATE, **options)
        masks, x, state = self.masks(layer), draw_x(rng), draw_state(rng, layer)
        y, _ = call(layer, x, lengths=LENGTHS, state=state, rngs=nnx.Rngs(dropout=KEY))
        h = x
        for depth in range(layer.num_layers):
            outputs = []
            for direction in range(layer.num_directions):
                k = depth * layer.num_directions + direction
                every, _ = by_hand.run(
                    layer.cells[k],
                    h,
                    state=of_cell(state, k),
                    valid=VALID,
                    reverse=bool(direction),
                    dropout=masks[k],
                )
                outputs.append(every[0])
            h = np.concatenate(outputs, axis=-1)
        assert_close(y, h)
        assert np.any(masks == 0)

    def test_has_one_mask_for_all_steps_of_a_row(self):
        twin = plain(1, 50, w_x=ZEROS, w_h=IDENTITY, recurrent_dropout_rate=RATE)
        state = core.ElmanState(np.ones((1, 20, 50), np.float32))
        y, _ = call(twin, np.zeros((20, 3, 1), np.float32), state=state)
        mask = np.asarray(y[:, 0])
        assert_dropped(mask)
        assert_share(np.diff(mask, axis=0) != 0, 2 * RATE * (1 - RATE))
        np.testing.assert_allclose(y[:, 1], mask**2, rtol=1e-6)
        np.testing.assert_allclose(y[:, 2], mask**3, rtol=1e-6)
        assert_dropped(step(twin, np.zeros((20, 1), np.float32), state)[0])


@pytest.mark.parametrize(("name", "rates"), [("gru", 0.4), ("lstm", (0.3, 0.6)), ("lstm", (0.5, 0.0))])
class TestZoneout:
    BATCH, TIME, WIDTH = 6, 8, 20

    def draw(self, name, rates, rng):
        layer = make(name, FEATURES, self.WIDTH, zoneout_rate=rates)
        x, state = draw_x(rng, self.TIME, self.BATCH), draw_state(rng, layer, self.BATCH)
        rates = rates if isinstance(rates, tuple) else (rates,) * len(state)
        return layer, rates, x, state

    def test_an_element_keeps_its_old_value_or_takes_the_new_one(self, name, rates, rng):
        layer, rates, x, state = self.draw(name, rates, rng)
        _, _, every = call_all_states(layer, x, state=state)
        pairs = zip(state, every, strict=True)
        old = [np.concatenate([first.swapaxes(0, 1), steps[0, :, :-1]], axis=1) for first, steps in pairs]
        flat = [part.reshape(-1, self.WIDTH).astype(np.float64) for part in old]
        new = by_hand.step(layer.cells[0], x.reshape(-1, FEATURES), flat)
        for rate, before, steps, after in zip(rates, old, every, new, strict=True):
            kept = np.asarray(steps[0]) == before
            assert_close(np.where(kept, 0, steps[0]), np.where(kept, 0, after.reshape(steps[0].shape)))
            if rate == 0:
                assert not np.any(kept)
                continue
            assert_share(kept, rate)
            for axis in (0, 1):  # each row and each step for itself
                assert_share(np.diff(kept, axis=axis), 2 * rate * (1 - rate))

    def test_at_evaluation_takes_the_expectation(self, name, rates, rng):
        layer, rates, x, state = self.draw(name, rates, rng)
        layer.eval()
        _, _, every = call_all_states(layer, x, state=state)
        expected, _ = by_hand.run(layer.cells[0], x, state=of_cell(state, 0), shares=rates)
        for part, steps in zip(every, expected, strict=True):
            assert_close(part[0], steps)

    def test_in_a_step(self, name, rates, rng):
        layer, rates, x, state = self.draw(name, rates, rng)
        _, after = step(layer, x[:, 0], state)
        new = by_hand.step(layer.cells[0], x[:, 0], [part[0].astype(np.float64) for part in state])
        for rate, before, part, value in zip(rates, state, after, new, strict=True):
            kept = np.asarray(part) == before
            assert_close(np.where(kept, 0, part)[0], np.where(kept[0], 0, value))
            assert_share(kept, rate) if rate else np.testing.assert_array_equal(kept, False)


def test_the_parts_of_the_state_are_zoned_out_each_for_itself(rng):
    layer = make("lstm", 1, 30, zoneout_rate=0.5)
    state = draw_state(rng, layer, 20)
    _, last = call(layer, draw_x(rng, 1, 20, 1), state=state)
    kept_h, kept_c = (a == b for a, b in zip(last, state, strict=True))
    for kept in (kept_h, kept_c, kept_h != kept_c):
        assert_share(kept, 0.5)


def test_zoneout_in_both_directions_and_layers_each_for_itself(rng):
    layer = make("gru", FEATURES, 30, 2, bidirectional=True, zoneout_rate=0.5)
    state = draw_state(rng, layer, 20)
    _, last = call(layer, draw_x(rng, 1, 20), state=state)
    kept = np.asarray(last.h == state.h)
    assert_share(kept[:-1] != kept[1:], 0.5)


class TestWeightDrop:
    """Seen by rows of the identity as the state, which a step turns into the recurrent matrix itself."""

    WIDTH = 40

    def layer(self, **options):
        return plain(1, self.WIDTH, w_x=ZEROS, w_h=ONES, weight_drop_rate=RATE, **options)

    def run(self, layer, **kwargs):
        """After one step and after two, `[state, hidden]`."""
        state = core.ElmanState(np.eye(self.WIDTH, dtype=np.float32)[None])
        y, _ = call(layer, np.zeros((self.WIDTH, 2, 1), np.float32), state=state, **kwargs)
        return np.asarray(y[:, 0]), np.asarray(y[:, 1])

    def test_drops_elements_of_the_matrix_once_a_call(self):
        layer = self.layer()
        matrix, square = self.run(layer)
        assert_dropped(matrix)
        np.testing.assert_allclose(square, matrix @ matrix, rtol=1e-5)  # the same matrix at both steps
        np.testing.assert_array_equal(layer.cells[0].w_h[...], 1)
        assert np.any(self.run(layer)[0] != matrix)

    def test_at_evaluation_drops_nothing(self):
        layer = self.layer()
        layer.eval()
        np.testing.assert_array_equal(self.run(layer)[0], 1)

    def test_in_a_step(self):
        layer = self.layer()
        y, _ = step(layer, np.zeros((self.WIDTH, 1), np.float32), core.ElmanState(np.eye(self.WIDTH)[None]))
        assert_dropped(y)

    def test_each_direction_and_layer_for_itself(self):
        layer = self.layer(num_layers=2, bidirectional=True)
        state = core.ElmanState(np.eye(self.WIDTH, dtype=np.float32)[None].repeat(4, 0))
        _, last = call(layer, np.zeros((self.WIDTH, 1, 1), np.float32), state=state)
        assert_share(np.diff(last.h, axis=0) != 0, 2 * RATE * (1 - RATE))

    @pytest.mark.parametrize("name", ["lstm", "gru"])
    def test_of_all_gates(self, name, rng):
        layer, x = make(name, weight_drop_rate=RATE), draw_x(rng)
        w_h = np.asarray(layer.cells[0].w_h[...])
        dropped = layer.weight_drop(jnp.asarray(w_h), rngs=nnx.Rngs(dropout=KEY))
        y, _ = call(layer, x, rngs=nnx.Rngs(dropout=KEY))
        assert_close(y, by_hand.run(layer.cells[0], x, w_h=np.asarray(dropped))[0][0])
        np.testing.assert_array_equal(layer.cells[0].w_h[...], w_h)
