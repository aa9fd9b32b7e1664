"""PyTorch as the outside oracle, and weights both ways."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from torch_program import Program

from jaxrnn import convert, core, nn

torch = pytest.importorskip("torch")
import torch_oracle as oracle  # noqa: E402, as it imports torch

OURS = {
    "lstm": (nn.LSTM, core.LSTMState, {}),
    "gru": (nn.GRU, core.GRUState, {}),
    "elman_tanh": (nn.Elman, core.ElmanState, {"activation": "tanh"}),
    "elman_relu": (nn.Elman, core.ElmanState, {"activation": "relu"}),
}
call = nnx.jit(lambda module, *args: module(*args))
LENGTHS = {
    "random": np.array([4, 1, 6, 2, 5]),
    "all_equal": np.full(5, 3),
    "all_one": np.ones(5, int),
    "all": np.full(5, 6),
}


DTYPES = ("float32", "float64")


def ours_like(name, module, dtype="float32", seed=1, **options):
    layer_type, _, kwargs = OURS[name]
    if module.proj_size:
        options["projection_features"] = module.proj_size
    if not module.bias:
        options["use_bias"] = False
    return layer_type(
        oracle.FEATURES,
        oracle.HIDDEN,
        module.num_layers,
        bidirectional=module.bidirectional,
        init="torch",  # compiles faster than the orthogonal one
        param_dtype=jnp.dtype(dtype),
        rngs=nnx.Rngs(seed),
        **kwargs,
        **options,
    )


# Half of the whole product, as compiling is what takes the time: every two values of different columns meet.
GRID = [
    (name, layers, bidirectional, DTYPES[(k + layers + bidirectional) % 2])
    for k, name in enumerate(OURS)
    for layers in (1, 2, 3)
    for bidirectional in (False, True)
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("name", "num_layers", "bidirectional", "dtype"), GRID)
def test_outputs_states_and_all_gradients(
    name, num_layers, bidirectional, dtype, rng, run_layer, assert_equal_to_torch
):
    module = oracle.make(name, num_layers, bidirectional, dtype)
    layer = ours_like(name, module, dtype)
    convert.from_torch(layer, module.state_dict())
    state_type = OURS[name][1]
    for lengths in LENGTHS.values():
        x, state, d_y, d_state = oracle.draw(rng, module, dtype)
        expected = oracle.run(module, x, lengths, state, d_y, d_state)
        actual = run_layer(layer, x, lengths, state_type(**state), d_y, state_type(**d_state))
        assert_equal_to_torch(actual, expected, dtype)


@nnx.jit
def run_with_gradients(layer, x, lengths, state, d_y, d_state):
    def loss(layer, x, state):
        y, last = layer(x, lengths=lengths, state=state)
        return (y * d_y).sum() + sum((a * b).sum() for a, b in zip(last, d_state, strict=True)), (y, last)

    return nnx.grad(loss, argnums=(0, 1, 2), has_aux=True)(layer, x, state)


# Two layers and one, both directions and one, both dtypes: each pair of them meets.
PROJECTED = [
    ("lstm", 2, 1, False, "float32"),
    ("lstm", 2, 2, True, "float32"),
    ("lstm", 3, 1, True, "float64"),
    ("lstm", 2, 2, False, "float64"),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "projection", "num_layers", "bidirectional", "dtype"), [*PROJECTED, ("gru", 0, 2, True, "float64")]
)
def test_projections_and_two_biases(name, projection, num_layers, bidirectional, dtype, rng, assert_equal_to_torch):
    module = oracle.make(name, num_layers, bidirectional, dtype, proj_size=projection)
    layer = ours_like(name, module, dtype, double_bias=True)
    convert.from_torch(layer, module.state_dict())
    state_type = OURS[name][1]
    gradients = nnx.clone(layer)
    for lengths in LENGTHS.values():
        x, state, d_y, d_state = oracle.draw(rng, module, dtype)
        expected = oracle.run(module, x, lengths, state, d_y, d_state)
        (d_layer, d_x, d_initial), (y, last) = run_with_gradients(
            layer, x, lengths, state_type(**state), d_y, state_type(**d_state)
        )
        actual = {"y": y, "x.grad": d_x}
        for part in state:
            actual |= {f"{part}_n": getattr(last, part), f"{part}_0.grad": getattr(d_initial, part)}
        nnx.update(gradients, d_layer)  # laid out as weights are: a layer of gradients has PyTorch's names for them
        actual |= {f"{name}.grad": value for name, value in convert.to_torch(gradients).items()}
        assert_equal_to_torch({name: np.asarray(value) for name, value in actual.items()}, expected, dtype)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("name", "projection"), [*((name, 0) for name in OURS), ("lstm", 2)])
def test_there_and_back(name, projection, bidirectional, rng):
    """Our weights load into PyTorch strictly, and into another layer of ours: the same function each time."""
    module = oracle.make(name, 2, bidirectional, "float32", proj_size=projection)
    layer, other = (ours_like(name, module, seed=seed) for seed in (1, 2))
    x = rng.normal(size=(oracle.BATCH, oracle.TIME, oracle.FEATURES)).astype(np.float32)
    y, _ = call(layer, x)

    state_dict = convert.to_torch(layer)
    assert list(state_dict) == list(module.state_dict())
    assert np.abs(call(other, x)[0] - y).max() > 0.01
    convert.from_torch(other, state_dict)
    np.testing.assert_array_equal(call(other, x)[0], y)

    module.load_state_dict({key: torch.from_numpy(value) for key, value in state_dict.items()}, strict=True)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x))[0], y, rtol=0, atol=1e-5)
    # What was exported shares nothing with the module.
    for value in state_dict.values():
        value += 1
    np.testing.assert_array_equal(call(layer, x)[0], y)


@pytest.mark.parametrize("name", ["lstm", "gru", "elman_tanh"])
def test_two_biases_come_back_to_the_bit(name, rng):
    module = oracle.make(name, 2, True, "float32")
    layer = ours_like(name, module, double_bias=True)
    convert.from_torch(layer, module.state_dict())
    back = convert.to_torch(layer)
    assert list(back) == list(module.state_dict())
    for key, value in module.state_dict().items():
        np.testing.assert_array_equal(back[key], value.numpy(), strict=True, err_msg=key)
    x = rng.normal(size=(oracle.BATCH, oracle.TIME, oracle.FEATURES)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(call(layer, x)[0], module(torch.from_numpy(x))[0], rtol=0, atol=1e-5)


def test_bias_false(rng):
    """Into a layer with biases, which are zero then, and into one without, which gives the same keys back."""
    module = oracle.make("gru", 2, False, "float32", bias=False)
    with_biases = nn.GRU(oracle.FEATURES, oracle.HIDDEN, 2, init="torch", rngs=nnx.Rngs(0))
    without = ours_like("gru", module)
    x = rng.normal(size=(2, 5, oracle.FEATURES)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))[0]
    for layer in (with_biases, without):
        convert.from_torch(layer, module.state_dict())
        np.testing.assert_allclose(call(layer, x)[0], expected, rtol=0, atol=1e-5)
    back = convert.to_torch(without)
    assert list(back) == list(module.state_dict())
    for key, value in module.state_dict().items():
        np.testing.assert_array_equal(back[key], value.numpy(), strict=True, err_msg=key)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_tensors_of_other_dtypes_are_cast(dtype):
    module = torch.nn.LSTM(3, 4).to(getattr(torch, dtype))
    layer = nn.LSTM(3, 4, rngs=nnx.Rngs(0))
    convert.from_torch(layer, module.state_dict())
    assert layer.cells[0].w_h.dtype == jnp.float32
    expected = module.weight_hh_l0.detach().float().numpy().reshape(4, 4, 4)
    np.testing.assert_array_equal(np.moveaxis(layer.cells[0].w_h[...], 0, -1), expected)


class ReferenceProgram(torch.nn.Module):
    """The tutorial's classifier: embedding, packed layers, final forward and backward states, one logit."""

    def __init__(self, layer_name, layer):
        super().__init__()
        self.layer_name = layer_name
        self.embedding = torch.nn.Embedding(20, 3, padding_idx=1)
        setattr(self, layer_name, layer)
        self.fc = torch.nn.Linear(2 * 4, 1)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, tokens, lengths):
        embedded = self.dropout(self.embedding(tokens))
        packed = torch.nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, hidden = getattr(self, self.layer_name)(packed)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return self.fc(self.dropout(torch.cat([hidden[-2], hidden[-1]], dim=1)))


@pytest.mark.parametrize(
    ("cell", "layer_name"), [("lstm", "lstm"), ("lstm", "rnn"), ("gru", "gru"), ("gru", "rnn"), ("elman", "rnn")]
)
def test_classifier(cell, layer_name, tmp_path, rng):
    torch.manual_seed(0)
    layer_type = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}[cell]
    program = ReferenceProgram(layer_name, layer_type(3, 4, 2, bidirectional=True, batch_first=True, dropout=0.5))
    program.eval()
    torch.save(program.state_dict(), tmp_path / "model.pt")

    our_type = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.Elman}[cell]
    name = {"lstm": "lstm", "gru": "gru", "elman": "rnn"}[cell]
    layer = our_type(3, 4, 2, bidirectional=True, dropout_rate=0.5, init="torch", rngs=0)
    model = Program(name, layer, 1, vocabulary_size=20)
    model.eval()
    tokens, lengths = rng.integers(0, 20, (5, 7)), np.array([7, 1, 3, 7, 2])
    with torch.no_grad():
        expected = program(torch.from_numpy(tokens), torch.from_numpy(lengths))
    assert np.abs(call(model, tokens, lengths) - expected.numpy()).max() > 0.01
    convert.from_torch(model, torch.load(tmp_path / "model.pt", weights_only=True))
    np.testing.assert_allclose(call(model, tokens, lengths), expected, rtol=0, atol=1e-5)

    back = convert.to_torch(model)
    renamed = {key.replace(f"{name}.", f"{layer_name}."): torch.from_numpy(value) for key, value in back.items()}
    program.load_state_dict(renamed, strict=True)
    with torch.no_grad():
        np.testing.assert_allclose(program(torch.from_numpy(tokens), torch.from_numpy(lengths)), expected, atol=1e-6)
