"""cuDNN's LSTM, the one that PyTorch runs, through `jax.experimental.rnn`.

It reads one vector of weights: for each direction of each layer W_ih then W_hh, `[4·hidden, ...]` with the gates
i f g o in their rows, and after all of them, in the same order, their two biases. Layers on top of each other and both
directions are one call, whose steps cuDNN overlaps where they do not wait for each other.

The sources of JAX 0.10.2 to 0.12 show four limits, which this module works around:

- It computes in float32 only, with TF32 products unless JAX's default matmul precision says otherwise.
- Each pass copies the lengths to the host and waits for them, so nothing is queued meanwhile and the call cannot be
  part of a CUDA graph.
- It does not serve a row without steps. Such a row is given one step here, whose results are left out.
- Its dropout has a constant seed. Ours is applied between calls.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core import versions
from jaxrnn.core.call import Call, platform_of
from jaxrnn.core.cells import LSTM
from jaxrnn.core.control import Direction, Loop, Results, hold, mask_lengths, zero_padding
from jaxrnn.core.kernels.kernel import Kernel
from jaxrnn.core.parameters import Layers, LSTMParams, LSTMState
from jaxrnn.core.scans.fused import fused_layers

# None is JAX's default on this platform, TF32.
PRECISIONS = (None, "highest", "float32", "high", "tensorfloat32")


class _Sizes(NamedTuple):
    """The arguments of cuDNN besides arrays, by the names that JAX has for them."""

    input_size: int
    hidden_size: int
    num_layers: int
    dropout: float
    bidirectional: bool
    precision: None = None


def why_not_here() -> str | None:
    """The reason why this machine has no cuDNN to call; None means that it has."""
    platform = platform_of(None)
    if platform != "cuda":
        return f"needs an NVIDIA GPU, and JAX runs on {platform}"
    module = versions.cudnn_lstm()
    return module if isinstance(module, str) else None


def why_not(call: Call) -> str | None:
    """The reason why it cannot serve a call; None means that it can."""
    precision = versions.matmul_precision()
    for refused, reason in (
        (call.platform != "cuda", f"needs an NVIDIA GPU, and this call runs on {call.platform}"),
        (call.cell != LSTM, "serves the plain LSTM alone (cuDNN's GRU is not in JAX)"),
        (call.dtype != "float32", f"computes in float32, and the weights are {call.dtype}"),
        (precision not in PRECISIONS, f"does not support matmul precision {precision!r}"),
        (call.options, f"does not support {', '.join(call.options)}"),
        (call.reverse, "runs a direction in reverse beside the other alone"),
        (call.divided, "runs on one device"),
        (call.time == 0 or call.batch == 0, "needs at least one step and one row"),
    ):
        if refused:
            return reason
    module = versions.cudnn_lstm()
    return module if isinstance(module, str) else None


def run(x: Array, directions: Sequence[Direction]) -> list[Results]:
    """One layer, in one direction or both."""
    outputs, (last,) = run_layers(x, [directions])
    return list(zip(outputs, last, strict=True))


def run_layers(x: Array, layers: Sequence[Sequence[Direction]]) -> tuple[list[Array], Layers]:
    """Layers with nothing between them: outputs of each direction of the last, and all last states."""
    time, batch = x.shape[:2]
    mask = layers[0][0].steps.mask
    lengths = mask_lengths(mask, time, batch)
    params, states = (tuple(tuple(getattr(d, name) for d in layer) for layer in layers) for name in ("params", "state"))
    sizes = _Sizes(x.shape[-1], params[0][0].w_h.shape[-1], len(layers), 0.0, len(layers[0]) == 2)
    x = zero_padding(mask, x).astype(jnp.float32)
    y, last = KERNEL(sizes, (x, params, states), jnp.maximum(lengths, 1))
    has_steps = None if mask is None else lengths > 0
    return jnp.split(y, len(layers[0]), axis=-1), hold(has_steps, last, states)


def pack(x: Array, layers: Layers, states: Layers) -> tuple[Array, Array, Array, Array]:
    """CuDNN's arrays: x `[batch, time, features]`, h and c `[layers * directions, batch, hidden]`, all weights."""
    directions: list[LSTMParams] = [params for layer in layers for params in layer]
    matrices = [w.transpose(1, 2, 0).ravel() for params in directions for w in (params.w_x, params.w_h)]
    biases = [b.ravel() for params in directions for b in (params.b, jnp.zeros_like(params.b))]
    flat = [state for layer in states for state in layer]
    h, c = (jnp.stack(part) for part in zip(*flat, strict=True))
    return x.swapaxes(0, 1), h, c, jnp.concatenate([*matrices, *biases])


def _results(sizes: _Sizes, y: Array, h: Array, c: Array) -> tuple[Array, Layers]:
    per_layer = 1 + sizes.bidirectional
    states = [LSTMState(*part) for part in zip(h, c, strict=True)]
    layers = tuple(tuple(states[k : k + per_layer]) for k in range(0, len(states), per_layer))
    return y.swapaxes(0, 1), layers


def _save(sizes: _Sizes, arguments: tuple, lengths: Array) -> tuple[Any, Array]:
    results, (*_, reserve) = cast(Any, versions.cudnn_lstm()).lstm_fwd(*pack(*arguments), lengths, *sizes)
    return _results(sizes, *results), reserve


def _forward(sizes: _Sizes, arguments: tuple, lengths: Array) -> Any:
    return _save(sizes, arguments, lengths)[0]


def _pull(sizes: _Sizes, arguments: tuple, lengths: Array, results: Any, reserve: Array, cotangents: Any) -> Any:
    packed, unpack = jax.vjp(pack, *arguments)
    y, _ = results
    d_y, d_states = cotangents
    d_h, d_c = (jnp.stack(part) for part in zip(*(state for layer in d_states for state in layer), strict=True))
    residuals = *packed, lengths, y.swapaxes(0, 1), reserve
    *d_packed, _ = cast(Any, versions.cudnn_lstm()).lstm_bwd(*sizes, residuals, (d_y.swapaxes(0, 1), d_h, d_c))
    return unpack(tuple(d_packed))


def _plain(sizes: _Sizes, arguments: tuple, lengths: Array) -> Any:
    loops = [Loop(LSTM, reverse) for reverse in (False, True)[: 1 + sizes.bidirectional]]
    x, params, states = arguments
    outputs, last = fused_layers(loops, x, params, states, lengths)
    return jnp.concatenate(outputs, axis=-1), last


KERNEL = Kernel("cuda", _plain, _forward, _save, _pull)
