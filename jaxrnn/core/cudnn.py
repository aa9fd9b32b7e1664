"""cuDNN's LSTM, the one that PyTorch runs, through `jax.experimental.rnn`.

What it reads is one vector of weights: for each direction of each layer W_ih then W_hh, `[4·hidden, ...]` with the
gates i f g o in their rows, and after all of them, in the same order, their two biases. Layers on top of each other and
both directions are one call, whose steps cuDNN overlaps where they do not wait for each other.

Found in the sources of JAX 0.10.2 to 0.12, and the reason for what stands here:

- only float32, whose products are TF32 unless JAX's default matmul precision says otherwise;
- lengths are copied to the host in each pass, which waits for them: nothing is queued meanwhile, and the call cannot be
  part of a CUDA graph;
- a row without steps is not served: it is given one, and what comes of it is left out;
- its dropout has a constant seed: ours is applied between calls.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core import versions
from jaxrnn.core.call import Call, platform_of
from jaxrnn.core.cells import LSTM
from jaxrnn.core.control import Fixed, Loop, Steps, hold, length_mask, zero_padding
from jaxrnn.core.fused_scan import fused_scan
from jaxrnn.core.kernel import Kernel
from jaxrnn.core.parameters import Layers, LSTMParams, LSTMState, Params, State

# None is JAX's default on this platform, TF32.
PRECISIONS = (None, "highest", "float32", "high", "tensorfloat32")


class _Sizes(NamedTuple):
    """What cuDNN is told beside arrays, by the names that JAX has for it."""

    input_size: int
    hidden_size: int
    num_layers: int
    dropout: float
    bidirectional: bool
    precision: None = None


def why_not_here() -> str | None:
    """Why this machine has no cuDNN to call; None: it has."""
    platform = platform_of(None)
    if platform != "cuda":
        return f"needs an NVIDIA GPU, and JAX runs on {platform}"
    module = versions.cudnn_lstm()
    return module if isinstance(module, str) else None


def why_not(call: Call) -> str | None:
    """Why it cannot serve a call; None: it can."""
    precision = getattr(jax.config, "jax_default_matmul_precision")  # noqa: B009 (not in its type)
    for refused, reason in (
        (call.platform != "cuda", f"needs an NVIDIA GPU, and this call runs on {call.platform}"),
        (call.cell != LSTM, "serves the plain LSTM alone (cuDNN's GRU is not in JAX)"),
        (call.dtype != "float32", f"computes in float32, and the weights are {call.dtype}"),
        (precision not in PRECISIONS, f"knows no matmul precision {precision!r}"),
        (call.options, f"knows no {', '.join(call.options)}"),
        (call.reverse, "runs a direction in reverse beside the other alone"),
        (call.divided, "runs on one device"),
        (call.time == 0 or call.batch == 0, "needs at least one step and one row"),
    ):
        if refused:
            return reason
    module = versions.cudnn_lstm()
    return module if isinstance(module, str) else None


def run(loop: Loop, x: Array, params: Params, state: State, fixed: Fixed, steps: Steps) -> tuple[Array | State, State]:
    """One direction of one layer, as the scans run it; the mask is that of lengths."""
    lengths = None if steps.mask is None else steps.mask.sum(0)
    y, ((last,),) = run_layers(loop.cell, x, ((params,),), ((state,),), lengths)
    return y, last


def run_layers(cell: Any, x: Array, layers: Layers, states: Layers, lengths: Array | None) -> tuple[Array, Layers]:
    """Layers of weights on states: outputs `[time, batch, directions * hidden]`, zero past the lengths; last states."""
    time, batch = x.shape[:2]
    mask = length_mask(lengths, time)
    at_least_one = jnp.full(batch, time) if lengths is None else jnp.maximum(lengths, 1)
    sizes = _Sizes(x.shape[-1], layers[0][0].w_h.shape[-1], len(layers), 0.0, len(layers[0]) == 2)
    x = zero_padding(mask, x).astype(jnp.float32)
    arguments = x, tuple(map(tuple, layers)), tuple(map(tuple, states))
    y, last = KERNEL(sizes, arguments, at_least_one.astype(jnp.int32))
    has_steps = None if lengths is None else jnp.asarray(lengths) > 0
    return zero_padding(mask, y), hold(has_steps, last, arguments[2])


def pack(x: Array, layers: Layers, states: Layers) -> tuple[Array, Array, Array, Array]:
    """What cuDNN reads: x `[batch, time, features]`, h and c `[layers * directions, batch, hidden]`, all weights."""
    directions: list[LSTMParams] = [params for layer in layers for params in layer]
    matrices = [w.transpose(1, 2, 0).ravel() for params in directions for w in (params.w_x, params.w_h)]
    biases = [b.ravel() for params in directions for b in (params.b, jnp.zeros_like(params.b))]
    each = [state for layer in states for state in layer]
    h, c = (jnp.stack(part) for part in zip(*each, strict=True))
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
    x, layers, states = arguments
    steps = Steps(mask=length_mask(lengths, x.shape[0]))
    last = []
    for params, entered in zip(layers, states, strict=True):
        pairs = [
            fused_scan(Loop(LSTM, reverse=k == 1), x, p, s, Fixed(), steps)
            for k, (p, s) in enumerate(zip(params, entered, strict=True))
        ]
        x = jnp.concatenate([zero_padding(steps.mask, cast(Array, y)) for y, _ in pairs], axis=-1)
        last.append(tuple(state for _, state in pairs))
    return x, tuple(last)


KERNEL = Kernel("cuda", _plain, _forward, _save, _pull)
