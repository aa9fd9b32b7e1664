"""The recurrent layers that the section [model] of a config asks for."""

from typing import Any

import jax.numpy as jnp

from jaxrnn import nn
from jaxrnn.config import ModelConfig

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.Elman}


def recurrent_layer(model: ModelConfig, in_features: int, hidden_features: int | None = None, **options: Any) -> Any:
    """Makes the layers, time-major.

    Args:
      model: Kind, size, initial weights and number format.
      in_features: Width of the input.
      hidden_features: Hidden units in each direction; None takes `model.hidden`.
      **options: Further arguments of the layer, such as `num_layers`, `bidirectional`, `dropout_rate` and `rngs`.
    """
    return LAYERS[model.cell](
        in_features,
        hidden_features or model.hidden,
        time_major=True,
        init=model.init,
        double_bias=model.double_bias,
        dtype=None if model.dtype == "float32" else jnp.dtype(model.dtype),
        **options,
    )


def describe_layers(model: ModelConfig) -> str:
    """The layers in a few words."""
    cell = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman network"}[model.cell]
    layers = "1 layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    return f"{cell}: {layers}, {model.hidden} hidden units"
