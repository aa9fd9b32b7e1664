"""What a state dict may be and may not be; PyTorch is not needed here."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from torch_program import Program

from jaxrnn import convert, nn

pytestmark = pytest.mark.usefixtures("unchecked_types")


def weights(module):
    return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, nnx.Param)))


@pytest.fixture
def lstm():
    return nn.LSTM(3, 4, 2, bidirectional=True, rngs=nnx.Rngs(0))


@pytest.fixture
def classifier():
    return Program("gru", nn.GRU(3, 4, init="torch", rngs=0), 3)


def refused(module, state_dict, message):
    """It is a ValueError with this message, and nothing has changed."""
    before = weights(module)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        convert.from_torch(module, state_dict)
    jax.tree.map(np.testing.assert_array_equal, weights(module), before)


def changed(state_dict, **more):
    """Other numbers, so that a half-done load would be seen, and some other entries; None takes one away."""
    changed = {name: value + 1 for name, value in state_dict.items()} | more
    return {name: value for name, value in changed.items() if value is not None}


def test_names_and_layout(lstm):
    rng = np.random.default_rng(0)
    for cell in lstm.cells:
        cell.b[...] = jnp.asarray(rng.normal(size=(4, 4)), jnp.float32)
    state_dict = convert.to_torch(lstm)
    stems = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ends = ("l0", "l0_reverse", "l1", "l1_reverse")
    assert list(state_dict) == [f"{stem}_{end}" for end in ends for stem in stems]
    cell = lstm.cells[3]
    for gate in range(4):
        rows = slice(4 * gate, 4 * gate + 4)
        np.testing.assert_array_equal(state_dict["weight_ih_l1_reverse"][rows], cell.w_x[...][:, gate].T)
        np.testing.assert_array_equal(state_dict["weight_hh_l1_reverse"][rows], cell.w_h[...][:, gate].T)
        np.testing.assert_array_equal(state_dict["bias_ih_l1_reverse"][rows], cell.b[...][gate])
    assert not np.any(state_dict["bias_hh_l1_reverse"])
    assert all(value.flags.writeable and value.flags.c_contiguous for value in state_dict.values())


def test_gru_biases():
    gru = nn.GRU(2, 3, rngs=nnx.Rngs(0))
    zeros = {"weight_ih_l0": np.zeros((9, 2)), "weight_hh_l0": np.zeros((9, 3))}
    convert.from_torch(gru, zeros | {"bias_ih_l0": np.arange(9.0), "bias_hh_l0": 10 * np.arange(9.0)})
    np.testing.assert_array_equal(gru.cells[0].b[...], [[0, 11, 22], [33, 44, 55], [6, 7, 8]])
    np.testing.assert_array_equal(gru.cells[0].b_hn[...], [60, 70, 80])
    state_dict = convert.to_torch(gru)
    np.testing.assert_array_equal(state_dict["bias_ih_l0"], [0, 11, 22, 33, 44, 55, 6, 7, 8])
    np.testing.assert_array_equal(state_dict["bias_hh_l0"], [0, 0, 0, 0, 0, 0, 60, 70, 80])


def test_jax_arrays_and_bfloat16(lstm):
    state_dict = {name: jnp.asarray(value, jnp.bfloat16) for name, value in convert.to_torch(lstm).items()}
    convert.from_torch(lstm, state_dict)
    np.testing.assert_array_equal(convert.to_torch(lstm)["weight_hh_l1"], state_dict["weight_hh_l1"].astype("float32"))
    low = nn.LSTM(3, 4, 2, bidirectional=True, init="torch", param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    convert.from_torch(low, state_dict)
    assert low.cells[0].w_h.dtype == jnp.bfloat16
    assert {value.dtype for value in convert.to_torch(low).values()} == {np.dtype("float32")}


def test_keys(lstm):
    good = convert.to_torch(lstm)
    missing = "state_dict: expected a key 'weight_hh_l1', which is missing"
    refused(lstm, changed(good, weight_hh_l1=None), missing)
    refused(
        lstm,
        changed(good, bias_hh_l1_reverse=None),
        "state_dict: expected a key 'bias_hh_l1_reverse', which is missing",
    )
    unexpected = "state_dict: unexpected keys, which this module has no place for: "
    refused(lstm, changed(good, weight_ih_l2=np.ones(1), other=np.ones(1)), unexpected + "'weight_ih_l2', 'other'")
    refused(lstm, {}, "state_dict: expected a key 'weight_ih_l0', which is missing")
    refused(
        nn.LSTM(3, 4, rngs=nnx.Rngs(0)),
        {name: value for name, value in good.items() if "l0" in name},
        unexpected + ", ".join(repr(name) for name in good if name.endswith("l0_reverse")),
    )
    refused(lstm, "weights.pt", "state_dict: expected a mapping of names to arrays, got str")


def test_shapes_and_dtypes(lstm):
    good = convert.to_torch(lstm)
    last = "bias_hh_l1_reverse"  # so that everything else has been read
    refused(lstm, changed(good, **{last: np.ones(15)}), f"state_dict['{last}']: expected shape [16], got [15]")
    shape = "state_dict['weight_ih_l0']: expected shape [16, 3], got [3, 16]"
    refused(lstm, changed(good, weight_ih_l0=good["weight_ih_l0"].T), shape)
    numbers = f"state_dict['{last}']: expected floating-point numbers, got "
    refused(lstm, changed(good, **{last: np.ones(16, int)}), numbers + "int64")
    refused(lstm, changed(good, **{last: np.array(["a"] * 16, object)}), numbers + "object")


def test_projections(lstm):
    projected = nn.LSTM(3, 4, 2, projection_features=2, bidirectional=True, init="torch", rngs=nnx.Rngs(0))
    plain, good = convert.to_torch(lstm), convert.to_torch(projected)
    ends = ("l0", "l0_reverse", "l1", "l1_reverse")
    for end, cell in zip(ends, projected.cells, strict=True):
        np.testing.assert_array_equal(good[f"weight_hr_{end}"], cell.w_p[...].T, strict=True)
    message = "state_dict: expected no weight_hr_l0, as the module's projection_features is None, got some"
    refused(lstm, good, message)
    refused(lstm, changed(plain, weight_hr_l1=np.ones((2, 4))), message)
    message = "state_dict: expected weight_hr_l0 and so on for the module's projection_features, got none"
    refused(projected, plain, message)
    refused(projected, {}, message)
    missing = "state_dict: expected a key 'weight_hr_l1', which is missing"
    refused(projected, changed(good, weight_hr_l1=None), missing)
    shape = "state_dict['weight_hr_l1_reverse']: expected shape [2, 4], got [4, 2]"
    refused(projected, changed(good, weight_hr_l1_reverse=np.ones((4, 2))), shape)


def test_biases_all_or_none(lstm):
    good = changed(convert.to_torch(lstm))
    none = {name: value for name, value in good.items() if "bias" not in name}
    one = none | {"bias_ih_l0": good["bias_ih_l0"]}
    refused(lstm, one, "state_dict: expected a key 'bias_hh_l0', which is missing")
    convert.from_torch(lstm, none)
    assert all(not np.any(cell.b[...]) for cell in lstm.cells)


def test_no_biases(lstm):
    bare = nn.LSTM(3, 4, 2, bidirectional=True, use_bias=False, init="torch", rngs=nnx.Rngs(0))
    good = changed(convert.to_torch(lstm))
    biases = [name for name in good if "bias" in name]
    unexpected = "state_dict: unexpected keys, which this module has no place for: "
    refused(bare, good, unexpected + ", ".join(map(repr, biases)))
    weights = {name: value for name, value in good.items() if name not in biases}
    convert.from_torch(bare, weights)
    jax.tree.map(np.testing.assert_array_equal, convert.to_torch(bare), weights)


WITHOUT_EQUIVALENT = {
    "a layer that PyTorch has, got peephole=True": (nn.LSTM, 4, {"peephole": True}),
    "a layer that PyTorch has, got layer_norm=True": (nn.GRU, 4, {"layer_norm": True}),
    "a layer that PyTorch has, got merge='sum'": (nn.Elman, 4, {"merge": "sum", "bidirectional": True}),
    "a layer that PyTorch has, got connections='dense'": (nn.LSTM, 4, {"connections": "dense"}),
    "a layer that PyTorch has, got learn_state=True": (nn.GRU, 4, {"learn_state": True}),
    "a layer that PyTorch has, got zoneout_rate": (nn.LSTM, 4, {"zoneout_rate": (0.0, 0.5)}),
    "layers of one width, as PyTorch's are, got [4, 5]": (nn.GRU, [4, 5], {}),
    "a GRU with reset_after=True, as PyTorch's is, got reset_after=False": (nn.GRU, 4, {"reset_after": False}),
}


@pytest.mark.parametrize("message", WITHOUT_EQUIVALENT)
def test_modules_without_an_equivalent(message):
    layer_type, hidden_features, options = WITHOUT_EQUIVALENT[message]
    module = layer_type(3, hidden_features, init="torch", rngs=nnx.Rngs(0), **options)
    refused(module, {}, f"module: expected {message}")
    with pytest.raises(ValueError, match=f"^module: expected {re.escape(message)}$"):
        convert.to_torch(module)


def test_not_a_recurrent_layer():
    message = "module: expected a recurrent layer, nn.LSTM, nn.GRU or nn.Elman, got Linear"
    refused(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), {}, message)


def test_options_that_change_nothing():
    """One direction has nothing to merge, and dropout acts while training only."""
    plain = nn.LSTM(3, 4, init="torch", rngs=nnx.Rngs(0))
    options = {"merge": "sum", "weight_drop_rate": 0.5, "recurrent_dropout_rate": 0.5, "input_dropout_rate": 0.5}
    other = nn.LSTM(3, 4, init="torch", rngs=nnx.Rngs(1), **options)
    state_dict = convert.to_torch(plain)
    convert.from_torch(other, state_dict)
    jax.tree.map(np.testing.assert_array_equal, convert.to_torch(other), state_dict)


def test_classifier(classifier):
    good = convert.to_torch(classifier)
    assert {name: value.shape for name, value in good.items()} == {
        "embedding.weight": (7, 3),
        "gru.weight_ih_l0": (12, 3),
        "gru.weight_hh_l0": (12, 4),
        "gru.bias_ih_l0": (12,),
        "gru.bias_hh_l0": (12,),
        "fc.weight": (3, 4),
        "fc.bias": (3,),
    }
    refused(classifier, changed(good, **{"fc.bias": None}), "state_dict: expected a key 'fc.bias', which is missing")
    refused(
        classifier,
        changed(good, **{"embedding.weight": np.ones((8, 3))}),
        "state_dict['embedding.weight']: expected shape [7, 3], got [8, 3]",
    )
    as_lstm = {name.replace("gru.", "lstm."): value for name, value in changed(good).items()}
    refused(classifier, as_lstm, "state_dict: expected a key 'gru.weight_ih_l0', which is missing")
    as_rnn = {name.replace("gru.", "rnn."): value for name, value in changed(good).items()}
    convert.from_torch(classifier, as_rnn)
    for name, value in convert.to_torch(classifier).items():
        # bias_ih takes both biases in but for the n gate's; those were 1 more each.
        if "bias" not in name or name.startswith("fc"):
            np.testing.assert_array_equal(value, good[name] + 1, err_msg=name)
