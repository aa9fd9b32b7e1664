"""The cells and one direction of a layer once more: NumPy loops in float64, from the weights that the modules own."""

import numpy as np

from jaxrnn import core


def sigma(a):
    return 1 / (1 + np.exp(-a))


def normalise(a):
    """Mean zero, variance one over gates and hidden units together, row by row."""
    axes = tuple(range(1, a.ndim))
    return (a - a.mean(axes, keepdims=True)) / np.sqrt(a.var(axes, keepdims=True) + 1e-5)


def weights(cell):
    """By name, with zeros for the biases that the cell lacks: `b` of the input's side, `b_h` of the recurrent one."""
    w = {name: np.asarray(param[...], np.float64) for name, param in cell.weights().items()}
    zeros = np.zeros(w["w_x"].shape[1:])
    w = {"b": zeros, "b_h": zeros} | w
    if "b_hn" in w:  # of the GRU's n gate alone
        w["b_h"] = np.stack([zeros[0], zeros[0], w["b_hn"]])
    return w


def step(cell, x, state, *, dropout=1.0, w_h=None):
    """The new state, a tuple of parts [B, H], from inputs x [B, D]; `dropout` multiplies h before its products."""
    w = weights(cell)
    w |= {} if w_h is None else {"w_h": w_h}
    name = cell.core_cell.name
    u = np.einsum("bd,dgh->bgh", x, w["w_x"])
    v = np.einsum("bp,pgh->bgh", state[0] * dropout, w["w_h"])
    if "norm_x" in w:
        u, v = normalise(u) * w["norm_x"], normalise(v) * w["norm_h"]
    u, v = u + w["b"], v + w["b_h"]
    if name == "elman":
        relu = cell.core_cell is core.elman_cell("relu")
        return (np.maximum(u + v, 0)[:, 0] if relu else np.tanh(u + v)[:, 0],)
    if name == "lstm":
        return lstm(w, np.moveaxis(u + v, 1, 0), state[1])
    (h,) = state
    r, z = (sigma(u[:, k] + v[:, k]) for k in range(2))
    if name == "gru":
        n = np.tanh(u[:, 2] + r * v[:, 2])
    else:  # the reset gate acts before the product
        n = np.tanh(u[:, 2] + (r * h * dropout) @ w["w_h"][:, 2] + w["b_h"][2])
    return ((1 - z) * n + z * h,)


def lstm(w, pre, c):
    i, f, g, o = pre
    p_i, p_f, p_o = w.get("peephole", np.zeros((3, 1)))
    c = sigma(f + p_f * c) * c + sigma(i + p_i * c) * np.tanh(g)
    seen = normalise(c) * w["norm_c"] + w["norm_c_shift"] if "norm_c" in w else c
    h = sigma(o + p_o * c) * np.tanh(seen)
    return (h @ w["w_p"] if "w_p" in w else h), c


def zeros(cell, batch):
    return tuple(np.zeros((batch, width)) for width in cell.state_widths)


def run(cell, x, *, state=None, valid=None, reverse=False, dropout=1.0, shares=None, w_h=None):
    """One direction over x [B, T, D]: every step's state, its parts [B, T, H], and the last one, [B, H].

    `valid` [B, T]: where it is false the state stays, and what comes out is zero; `shares`: what of each part of the
    old state stays.
    """
    batch, time = x.shape[:2]
    valid = np.ones((batch, time), bool) if valid is None else valid
    shares = np.zeros(len(cell.state_widths)) if shares is None else shares
    state = zeros(cell, batch) if state is None else tuple(np.asarray(part, np.float64) for part in state)
    every = [np.zeros((batch, time, width)) for width in cell.state_widths]
    for t in reversed(range(time)) if reverse else range(time):
        on = valid[:, t, None]
        new = step(cell, np.where(on, x[:, t], 0), state, dropout=dropout, w_h=w_h)
        new = (share * old + (1 - share) * part for share, old, part in zip(shares, state, new, strict=True))
        state = tuple(np.where(on, part, old) for part, old in zip(new, state, strict=True))
        for steps, part in zip(every, state, strict=True):
            steps[:, t] = np.where(on, part, 0)
    return every, state


def both(layer, depth, x, **options):
    """Outputs and last state of each direction of a bidirectional layer's `depth`."""
    results = []
    for direction in range(2):
        every, last = run(layer.cells[2 * depth + direction], x, reverse=bool(direction), **options)
        results.append((every[0], last))
    (forward, last_forward), (backward, last_backward) = results
    return forward, backward, [last_forward, last_backward]
