"""Keras 3 on JAX: its layers in a functional model, run by `stateless_call`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Case
from benchmarks.peers.ours import make_layer, matrices
from benchmarks.peers.runner import CannotServeError, Runner, jax_runner
from jaxrnn import convert

POLICY = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def make(case: Case) -> Runner:
    """The layers with the case's weights."""
    import keras

    if keras.backend.backend() != "jax":
        raise CannotServeError(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=jax")
    types = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "elman": keras.layers.SimpleRNN}
    inputs, mask = keras.Input((case.time, case.features)), keras.Input((case.time,), dtype="bool")
    y = inputs
    for _ in range(case.layers):
        layer = types[case.cell](case.hidden, return_sequences=True, dtype=POLICY[case.dtype])
        if case.directions == 2:
            layer = keras.layers.Bidirectional(layer, dtype=POLICY[case.dtype])
        y = layer(y) if case.lengths == "full" else layer(y, mask=mask)
    model = keras.Model([inputs, mask], y)
    model.set_weights(convert.to_keras(make_layer(case)))
    rest = [variable.value for variable in model.non_trainable_variables]

    def run(weights: Any, x: jax.Array, lengths: jax.Array | None) -> jax.Array:
        lengths = jnp.full(case.batch, case.time) if lengths is None else lengths
        return model.stateless_call(weights, rest, [x, jnp.arange(case.time) < lengths[:, None]])[0]

    def gradients(weights: Any) -> dict[str, np.ndarray]:
        layer = make_layer(case)
        convert.from_keras(layer, [np.asarray(array, np.float32) for array in weights])
        return matrices(layer)

    weights = [variable.value for variable in model.trainable_variables]
    return jax_runner(case, run, weights, gradients=gradients, batch_major=True)
