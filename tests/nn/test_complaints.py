"""Wrong arguments: a ValueError names the argument, what was expected and what came; an unknown keyword a TypeError."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from layer_cases import make

from jaxrnn import core, nn

pytestmark = pytest.mark.usefixtures("unchecked_types")  # as users see it

X = np.zeros((3, 5, 4), np.float32)  # [batch, time, features]


def raises(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


RATES = [
    "dropout_rate",
    "input_dropout_rate",
    "output_dropout_rate",
    "recurrent_dropout_rate",
    "zoneout_rate",
    "weight_drop_rate",
]


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("name", RATES)
def test_rates(name, rate):
    with raises(f"{name}: expected 0 <= rate < 1, got {rate}"):
        make("elman", **{name: rate})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lstm", {"zoneout_rate": (0.1,)}, "zoneout_rate: expected one number, or one for each of h, c, got (0.1,)"),
        (
            "gru",
            {"zoneout_rate": (0.1, 0.2)},
            "zoneout_rate: expected one number, or one for each of h, got (0.1, 0.2)",
        ),
        ("lstm", {"zoneout_rate": (0.1, 1.5)}, "zoneout_rate: expected 0 <= rate < 1, got 1.5"),
        ("lstm", {"merge": "add"}, "merge: expected one of concat, sum, mean, mul, got 'add'"),
        ("lstm", {"connections": "skip"}, "connections: expected one of plain, residual, dense, got 'skip'"),
        ("lstm", {"init": "zeros"}, "init: expected 'orthogonal', 'torch' or nn.Initializers, got 'zeros'"),
        ("lstm", {"max_gradient": 0.0}, "max_gradient: expected None or a number above 0, got 0.0"),
        ("lstm", {"remat_chunk": 0}, "remat_chunk: expected None or a whole number above 0, got 0"),
        ("elman", {"activation": "gelu"}, "activation: expected 'tanh' or 'relu', got 'gelu'"),
        (
            "gru",
            {"use_bias": False, "double_bias": True},
            "double_bias: expected False with use_bias=False, got True",
        ),
        (
            "gru",
            {"reset_after": False, "layer_norm": True},
            "layer_norm: expected False for a GRU with reset_after=False, got True",
        ),
        ("lstm", {"projection_features": 0}, "projection_features: expected at least 1, got 0"),
    ],
)
def test_options(name, options, message):
    with raises(message):
        make(name, **options)


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((0, 6), {}, "in_features: expected at least 1, got 0"),
        ((4, 0), {}, "hidden_features: expected at least 1, got 0"),
        ((4, 6, 0), {}, "num_layers: expected at least 1, got 0"),
        ((4, [6, 3], 0), {}, "num_layers: expected at least 1, got 0"),
        ((4, []), {}, "hidden_features: expected at least one width, got none"),
        ((4, [6, 3], 3), {}, "hidden_features: expected 3 widths, one a layer, got [6, 3]"),
        (
            (4, [6, 3]),
            {"connections": "residual"},
            "hidden_features: expected layers of one width for residual, got [6, 3]",
        ),
    ],
)
def test_sizes(sizes, options, message):
    with raises(message):
        make("gru", *sizes, **options)


@pytest.mark.parametrize(
    ("name", "option", "hint"),
    [
        ("LSTM", "dropout", "did you mean dropout_rate?"),
        ("GRU", "batch_first", "inputs are batch-major unless time_major=True"),
        ("Elman", "bias", "did you mean use_bias?"),
        ("LSTM", "proj_size", "did you mean projection_features"),
        ("LSTM", "peepholes", "did you mean peephole?"),
        ("LSTM", "reset_after", "expected one of in_features, "),
        ("GRU", "projection_features", ""),
        ("Elman", "layer_norm", ""),
    ],
)
def test_unknown_keywords_are_refused_by_the_class_that_was_named(name, option, hint):
    for module_type in (getattr(nn, name), getattr(nn, f"{name}Cell")):
        if option == "dropout" and module_type is not nn.LSTM:
            hint = "did you mean"  # a cell has no dropout_rate, which is the layer's
        with pytest.raises(
            TypeError, match=f"^{module_type.__name__}: unexpected keyword argument '{option}'; .*{re.escape(hint)}"
        ):
            module_type(4, 6, rngs=0, **{option: True})


ZEROS = jnp.zeros((2, 3, 6))
CALLS = [
    ({"x": X[0]}, "x: expected floats [batch, time, 4], got float32 [5, 4]"),
    ({"x": X[..., :3]}, "x: expected floats [batch, time, 4], got float32 [3, 5, 3]"),
    ({"x": X.astype(np.int32)}, "x: expected floats [batch, time, 4], got int32 [3, 5, 4]"),
    ({"lengths": np.array([5.0, 1, 0])}, "lengths: expected integers [3], got float64 [3]"),
    ({"lengths": np.array([5, 1])}, "lengths: expected integers [3], got int64 [2]"),
    ({"lengths": np.array([5, 6, 0])}, "lengths: expected 0 to 5, the number of steps, got 0 to 6"),
    ({"lengths": np.array([5, -1, 0])}, "lengths: expected 0 to 5, the number of steps, got -1 to 5"),
    ({"lengths": np.array([5, 5, 5]), "mask": X[..., 0] == 0}, "mask: expected None beside lengths, got both"),
    ({"mask": X[..., 0]}, "mask: expected booleans [3, 5], got float32 [3, 5]"),
    ({"mask": X[..., 0].T == 0}, "mask: expected booleans [3, 5], got bool [5, 3]"),
    ({"mask": np.ones(5, bool)}, "mask: expected booleans [3, 5], got bool [5]"),
    ({"resets": X[..., 0]}, "resets: expected booleans [3, 5], got float32 [3, 5]"),
    ({"resets": X[:2, :, 0] == 0}, "resets: expected booleans [3, 5], got bool [2, 5]"),
]


@pytest.mark.parametrize(("arguments", "message"), CALLS, ids=[message for _, message in CALLS])
def test_call(arguments, message):
    layer = make("lstm", 4, 6, 2)
    with raises(message):
        layer(**({"x": X} | arguments))
    if "x" not in arguments:
        with raises(message):
            nn.RNN(layer.cells[0])(X, **arguments)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (core.GRUState(ZEROS), "state: expected LSTMState, got GRUState"),
        ((ZEROS, ZEROS), "state: expected LSTMState, got tuple"),
        (core.LSTMState(ZEROS, ZEROS[:1]), "state.c: expected shape [2, 3, 6], got [1, 3, 6]"),
        (core.LSTMState(ZEROS[0], ZEROS[0]), "state.h: expected shape [2, 3, 6], got [3, 6]"),
        (core.LSTMState(ZEROS[:, :2], ZEROS), "state.h: expected shape [2, 3, 6], got [2, 2, 6]"),
    ],
)
def test_state(state, message):
    layer = make("lstm", 4, 6, 2)
    for call in (lambda: layer(X, state=state), lambda: layer.step(X[:, 0], state)):
        with raises(message):
            call()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (core.LSTMState(ZEROS, ZEROS), "state[0]: expected LSTMState, got ArrayImpl"),
        ((core.LSTMState(ZEROS[0], ZEROS[0]),), "state: expected a tuple of 2 LSTMState, as returned"),
        ((core.LSTMState(ZEROS[0], ZEROS[0]),) * 2, "state[1].h: expected shape [3, 2], got [3, 6]"),
        ((core.LSTMState(ZEROS[0], ZEROS[0]), core.GRUState(ZEROS[0])), "state[1]: expected LSTMState, got GRUState"),
    ],
)
def test_state_of_different_widths(state, message):
    layer = make("lstm", 4, [6, 2])
    for call in (lambda: layer(X, state=state), lambda: layer.step(X[:, 0], state)):
        with raises(message):
            call()


def test_time_major_names_its_own_axes():
    layer = make("lstm", time_major=True)
    with raises("x: expected floats [time, batch, 4], got float32 [5, 4]"):
        layer(X[0])
    for module in (layer, nn.RNN(layer.cells[0], time_major=True)):
        with raises("mask: expected booleans [3, 5], got bool [5, 3]"):
            module(X, mask=X[..., 0].T == 0)


def test_step():
    with raises("step: expected a unidirectional layer, got bidirectional=True"):
        make("lstm", bidirectional=True).step(X[:, 0])
    for x, got in [(X[:, 0, :2], "float32 [3, 2]"), (X, "float32 [3, 5, 4]"), (X[:, 0].astype(int), "int64 [3, 4]")]:
        with raises(f"x: expected floats [batch, 4], got {got}".replace("int64", "int32")):
            make("lstm").step(x)


def test_cell():
    cell = make("lstm").cells[0]
    carry = cell.initialize_carry((3, 4))
    for wrong, message in [
        (carry._replace(h=carry.h[:1]), "carry.h: expected shape [3, 6], got [1, 6]"),
        (carry._replace(c=carry.c[0]), "carry.c: expected shape [3, 6], got [6]"),
        (tuple(carry), "carry: expected LSTMState, got tuple"),
    ]:
        with raises(message):
            cell(wrong, X[:, 0])
    with raises("x: expected floats [..., 4], got int32 [3, 4]"):
        cell(carry, X[:, 0].astype(np.int32))
    for x, got in [(X[:, 0, :2], "[3, 2]"), (X[0, 0, 0], "[]")]:
        with raises(f"x: expected floats [..., 4], got float32 {got}"):
            cell(carry, x)


def test_rnn():
    for make_one in (lambda: nn.RNN(make("lstm").cells[0], backend="fast"), lambda: make("lstm", backend="fast")):
        with raises(f"backend: expected None or one of {', '.join(sorted(core.backends()))}, got 'fast'"):
            make_one()
    for wrong, got in ((10, "10"), (nn.LSTM(4, 6, rngs=0), "LSTM")):
        with raises(f"cell: expected a cell with initialize_carry, got {got}; torch.nn.RNN is nn.Elman here"):
            nn.RNN(wrong)
    for cell in (make("lstm").cells[0], nnx.GRUCell(4, 6, rngs=nnx.Rngs(0))):
        with raises("x: expected [batch, time, features], got [5, 4]"):
            nn.RNN(cell)(X[0])
        with raises("lengths: expected 0 to 5, the number of steps, got 0 to 6"):
            nn.RNN(cell)(X, lengths=np.array([5, 0, 6]))
        with raises("resets: expected booleans [3, 5], got bool [5, 3]"):
            nn.RNN(cell)(X, resets=X[..., 0].T == 0)
        with raises("mask: expected None beside lengths, got both"):
            nn.RNN(cell)(X, lengths=np.array([5, 0, 5]), mask=X[..., 0] == 0)
    with raises("state: expected LSTMState, got GRUState"):
        nn.RNN(make("lstm").cells[0])(X, state=core.GRUState(ZEROS[0]))
