"""Layers of one small size, and their calls, compiled once for all that are alike."""

import numpy as np
from flax import nnx

from jaxrnn import nn

LAYERS = {"elman": nn.Elman, "lstm": nn.LSTM, "gru": nn.GRU}
BATCH, TIME, FEATURES, HIDDEN = 3, 5, 4, 6
LENGTHS = np.array([5, 0, 3])
VALID = np.arange(TIME) < LENGTHS[:, None]
TOLERANCE = 16 * float(np.finfo(np.float32).eps) * np.sqrt(FEATURES + HIDDEN)  # DESIGN section 5

call = nnx.jit(lambda layer, x, **arrays: layer(x, **arrays))
call_all_states = nnx.jit(lambda layer, x, **arrays: layer(x, all_states=True, **arrays))
step = nnx.jit(lambda layer, x, state: layer.step(x, state))


def make(name, *args, seed=0, init="torch", **kwargs):
    """A layer whose biases are not zero, in FEATURES and HIDDEN unless they are given."""
    return LAYERS[name](*(args or (FEATURES, HIDDEN)), init=init, rngs=nnx.Rngs(seed), **kwargs)


def draw_x(rng, time=TIME, batch=BATCH, features=FEATURES):
    return rng.normal(size=(batch, time, features)).astype(np.float32)


def draw_state(rng, layer, batch=BATCH):
    """A state as the layer takes it: stacked, or a tuple where the widths differ."""
    parts = [
        cell.core_cell.state_type(*(rng.normal(size=(batch, n)).astype(np.float32) for n in cell.state_widths))
        for cell in layer.cells
    ]
    if len({cell.hidden_features for cell in layer.cells}) > 1:
        return tuple(parts)
    return type(parts[0])(*(np.stack(part) for part in zip(*parts, strict=True)))


def of_cell(state, k):
    """The parts of the k-th cell's state."""
    return tuple(state[k]) if type(state) is tuple else tuple(part[k] for part in state)


def assert_close(actual, expected, tolerance=TOLERANCE):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def assert_states_close(actual, expected, tolerance=TOLERANCE):
    """A layer's state against the parts of each cell's."""
    for k, parts in enumerate(expected):
        for part, value in zip(of_cell(actual, k), parts, strict=True):
            assert_close(part, value, tolerance)
