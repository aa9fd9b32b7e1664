"""The recurrent layers: stacks of one kind of cell."""

from collections.abc import Sequence
from typing import Literal, Unpack

from flax import nnx

from jaxrnn.nn.cells import ElmanCell, GRUCell, LSTMCell
from jaxrnn.nn.stack import LayerOptions, RecurrentLayer


class Elman(RecurrentLayer):
    """Elman layers, φ = tanh or ReLU; see `jaxrnn.core.elman` for the equations.

    Args:
      in_features: D, width of the input.
      hidden_features: H, width of each direction's state; or a width for each layer.
      num_layers: L, layers in depth.
      activation: φ, "tanh" or "relu".
      rngs: Flax random streams, or a seed.
      **options: All other arguments of the signature; see `jaxrnn.nn.RecurrentLayer`.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        num_layers: int = 1,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        rngs: nnx.Rngs | int,
        **options: Unpack[LayerOptions],
    ):
        arguments = {"activation": activation}
        super().__init__(ElmanCell, in_features, hidden_features, num_layers, arguments, rngs=rngs, **options)


class LSTM(RecurrentLayer):
    """LSTM layers; see `jaxrnn.core.lstm` for the equations.

    Args:
      in_features: D, width of the input.
      hidden_features: H, width of each direction's state; or a width for each layer.
      num_layers: L, layers in depth.
      projection_features: P, width that each output is projected to; None means no projection.
      peephole: Whether i, f and o see the cell state.
      layer_norm: Layer normalisation of both parts of the pre-activations and of the cell state.
      rngs: Flax random streams, or a seed.
      **options: All other arguments of the signature; see `jaxrnn.nn.RecurrentLayer`.

    Example:
      >>> import jax.numpy as jnp
      >>> lstm = LSTM(3, 4, num_layers=2, bidirectional=True, rngs=0)
      >>> y, state = lstm(jnp.ones((2, 5, 3)), lengths=jnp.array([5, 3]))
      >>> y.shape, state.h.shape, float(abs(y[1, 3:]).sum())
      ((2, 5, 8), (4, 2, 4), 0.0)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        num_layers: int = 1,
        *,
        projection_features: int | None = None,
        peephole: bool = False,
        layer_norm: bool = False,
        rngs: nnx.Rngs | int,
        **options: Unpack[LayerOptions],
    ):
        arguments = {"projection_features": projection_features, "peephole": peephole, "layer_norm": layer_norm}
        super().__init__(LSTMCell, in_features, hidden_features, num_layers, arguments, rngs=rngs, **options)


class GRU(RecurrentLayer):
    """GRU layers of either family; see `jaxrnn.core.gru` for the equations.

    Args:
      in_features: D, width of the input.
      hidden_features: H, width of each direction's state; or a width for each layer.
      num_layers: L, layers in depth.
      reset_after: Which family: True is cuDNN's and PyTorch's, False the textbook form.
      layer_norm: Layer normalisation of both parts of the pre-activations; needs `reset_after`.
      rngs: Flax random streams, or a seed.
      **options: All other arguments of the signature; see `jaxrnn.nn.RecurrentLayer`.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | Sequence[int],
        num_layers: int = 1,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
        rngs: nnx.Rngs | int,
        **options: Unpack[LayerOptions],
    ):
        arguments = {"reset_after": reset_after, "layer_norm": layer_norm}
        super().__init__(GRUCell, in_features, hidden_features, num_layers, arguments, rngs=rngs, **options)
