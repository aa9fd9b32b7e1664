"""The libraries that are compared: each makes, for a case, a forward pass and one with all gradients.

All hold the same weights, those that PyTorch draws for seed 0, carried over by `jaxrnn.convert`.
"""

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case
from flax import nnx

from jaxrnn import convert, nn

os.environ.setdefault("KERAS_BACKEND", "jax")

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.Elman}


class Runner(NamedTuple):
    """One library at one case; both functions return when the numbers are there."""

    forward: Callable[[], np.ndarray | Any]  # outputs [batch, time, directions · hidden]
    train: Callable[[], Any]  # outputs and the gradients of weights and inputs
    compile_seconds: dict[str, float]


class Peer(NamedTuple):
    """A library, or one way of using it."""

    name: str
    make: Callable[[Case], Runner | None]  # None: cannot serve this case
    needs: str | None = None  # a package that may be absent
    exact_lengths: bool = True  # whether its outputs are those of the sequences, whatever their lengths


def jaxrnn_layer(case: Case, backend: str | None = None) -> nn.RecurrentLayer:
    """Our layer with the case's weights."""
    return LAYERS[case.cell](
        case.features,
        case.hidden,
        case.layers,
        bidirectional=case.directions == 2,
        init="torch",
        double_bias=True,
        dtype=None if case.dtype == "float32" else jnp.dtype(case.dtype),
        backend=backend,
        rngs=nnx.Rngs(0),
    )


def _timed_compile(function: Callable, *arguments: Any) -> tuple[Callable, float]:
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    return compiled, time.perf_counter() - start


def _jax_runner(run: Callable, weights: Any, case: Case) -> Runner:
    """From `run(weights, x, lengths) -> y`, with batch-major arrays on the device."""
    x, d_y = (jax.device_put(a) for a in case.draw_inputs())
    lengths = jnp.asarray(case.draw_lengths())

    def gradients(weights: Any, x: Any, lengths: Any, d_y: Any) -> Any:
        y, pull = jax.vjp(lambda weights, x: run(weights, x, lengths), weights, x)
        return y, pull(d_y.astype(y.dtype))

    forward, forward_seconds = _timed_compile(run, weights, x, lengths)
    train, train_seconds = _timed_compile(gradients, weights, x, lengths, d_y)
    return Runner(
        lambda: jax.block_until_ready(forward(weights, x, lengths)),
        lambda: jax.block_until_ready(train(weights, x, lengths, d_y)),
        {"forward": forward_seconds, "train": train_seconds},
    )


def _jaxrnn(backend: str | None) -> Callable[[Case], Runner]:
    def make(case: Case) -> Runner:
        graph, weights = nnx.split(jaxrnn_layer(case, backend))
        return _jax_runner(lambda w, x, n: nnx.merge(graph, w)(x, lengths=n)[0], weights, case)

    return make


def _flax(case: Case) -> Runner | None:
    if case.cell == "gru" or case.dtype != "float32":  # its GRU has no b_hn
        return None
    types = {"lstm": nnx.OptimizedLSTMCell, "elman": nnx.SimpleCell}
    ours = jaxrnn_layer(case)
    rnns = []
    for cell in ours.cells:
        theirs = types[case.cell](cell.in_features, cell.hidden_features, rngs=nnx.Rngs(0))
        nnx.update(theirs, nnx.State(convert.to_flax(cell, "nnx_optimized")))
        rnns.append(nnx.RNN(theirs))
    pairs = zip(rnns[::2], rnns[1::2], strict=True)
    layers = rnns if case.directions == 1 else [nnx.Bidirectional(a, b) for a, b in pairs]
    graph, weights, rest = nnx.split(nnx.List(layers), nnx.Param, ...)

    def run(weights: Any, x: Any, lengths: Any) -> Any:
        for layer in nnx.merge(graph, weights, rest):
            x = layer(x, seq_lengths=lengths)
        return x

    return _jax_runner(run, weights, case)


def _keras(case: Case) -> Runner | None:
    if case.dtype != "float32":
        return None
    import keras

    types = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "elman": keras.layers.SimpleRNN}
    layers = []
    for _ in range(case.layers):
        layer = types[case.cell](case.hidden, return_sequences=True)
        layers.append(layer if case.directions == 1 else keras.layers.Bidirectional(layer))
    masked = case.lengths != "full"
    inputs = keras.Input((case.time, case.features))
    mask = keras.Input((case.time,), dtype="bool")
    y = inputs
    for layer in layers:
        y = layer(y, mask=mask) if masked else layer(y)
    model = keras.Model([inputs, mask], y)
    model.set_weights(convert.to_keras(jaxrnn_layer(case)))
    weights = [v.value for v in model.trainable_variables]
    rest = [v.value for v in model.non_trainable_variables]

    def run(weights: Any, x: Any, lengths: Any) -> Any:
        valid = jnp.arange(case.time) < lengths[:, None]
        return model.stateless_call(weights, rest, [x, valid])[0]

    return _jax_runner(run, weights, case)


def _torch_module(case: Case) -> Any:
    import torch

    types = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}
    module = types[case.cell](
        case.features, case.hidden, case.layers, bidirectional=case.directions == 2, batch_first=True
    )
    state_dict = convert.to_torch(jaxrnn_layer(case))
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state_dict.items()})
    return module.cuda() if torch.cuda.is_available() else module


def _torch(packed: bool) -> Callable[[Case], Runner | None]:
    def make(case: Case) -> Runner | None:
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

        device = "cuda" if torch.cuda.is_available() else "cpu"
        # The same precision on both sides: XLA's default on this GPU is TF32 for float32, PyTorch's cuDNN's, too.
        module = _torch_module(case)
        x, d_y = (torch.from_numpy(a).to(device) for a in case.draw_inputs())
        lengths = torch.from_numpy(case.draw_lengths())  # PyTorch wants them on the CPU
        x.requires_grad_(True)

        def run() -> Any:
            with torch.autocast(device, torch.bfloat16, enabled=case.dtype == "bfloat16"):
                if not packed:
                    return module(x)[0]
                y, _ = module(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
                return pad_packed_sequence(y, batch_first=True, total_length=case.time)[0]

        def wait() -> None:
            if device == "cuda":
                torch.cuda.synchronize()

        def forward() -> Any:
            with torch.no_grad():
                y = run()
            wait()
            return y.float().cpu() if device == "cpu" else y

        def train() -> Any:
            module.zero_grad()
            x.grad = None
            y = run()
            y.backward(d_y.to(y.dtype))
            wait()
            return y

        return Runner(forward, train, {})

    return make


PEERS = [
    Peer("jaxrnn", _jaxrnn(None)),
    Peer("plain lax.scan", _jaxrnn("reference")),
    Peer("PyTorch padded", _torch(packed=False), needs="torch", exact_lengths=False),
    Peer("PyTorch packed", _torch(packed=True), needs="torch"),
    Peer("flax.nnx.RNN", _flax),
    Peer("Keras 3 on JAX", _keras, needs="keras"),
]
