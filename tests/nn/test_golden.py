"""PyTorch's numbers, recorded by tests/golden/make_torch.py, replayed without it."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn import convert, core, nn

GOLDEN = Path(__file__).parents[1] / "golden" / "torch.npz"
LAYERS = {
    "lstm": (nn.LSTM, core.LSTMState, {}),
    "gru": (nn.GRU, core.GRUState, {}),
    "elman_tanh": (nn.Elman, core.ElmanState, {"activation": "tanh"}),
    "elman_relu": (nn.Elman, core.ElmanState, {"activation": "relu"}),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_two_bidirectional_layers(name, dtype, run_layer, assert_equal_to_torch):
    with np.load(GOLDEN, allow_pickle=False) as file:
        golden = {key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")}
    lengths = golden.pop("lengths")
    expected = {key.removeprefix("out."): golden.pop(key) for key in list(golden) if key.startswith("out.")}
    golden = {key: value.astype(dtype) for key, value in golden.items()}

    layer_type, state_type, kwargs = LAYERS[name]
    features, hidden = golden["x"].shape[-1], golden["h_0"].shape[-1]
    kwargs = kwargs | {"bidirectional": True, "init": "torch", "param_dtype": jnp.dtype(dtype)}
    layer = layer_type(features, hidden, 2, rngs=nnx.Rngs(0), **kwargs)
    convert.from_torch(layer, {key: value for key, value in golden.items() if key.startswith(("weight", "bias"))})
    state, d_state = (
        state_type(*(golden[key.format(part)] for part in state_type._fields)) for key in ("{}_0", "d_{}_n")
    )
    actual = run_layer(layer, golden["x"], lengths, state, golden["d_y"], d_state)
    assert_equal_to_torch(actual, expected, dtype)
