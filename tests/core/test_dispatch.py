"""Every complaint of the public functions names the argument, what was expected and what came."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import core
from jaxrnn.core.kernels.native import library
from jaxrnn.core.registry import BACKENDS

X = jnp.ones((5, 2, 3))
PARAMS = core.LSTMParams(jnp.ones((3, 4, 6)), jnp.ones((6, 4, 6)), jnp.ones((4, 6)))
GRU_PARAMS = core.GRUParams(jnp.ones((3, 3, 6)), jnp.ones((6, 3, 6)), jnp.ones((3, 6)), jnp.ones(6))
STATE = core.LSTMState(jnp.ones((2, 6)), jnp.ones((2, 6)))

pytestmark = pytest.mark.usefixtures("unchecked_types")


def refused(message, function, *args, **kwargs):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(*args, **kwargs)


def test_valid_calls_pass():
    core.lstm(X, PARAMS, lengths=np.array([5, 0]), state=STATE)
    core.gru(X, GRU_PARAMS)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (jnp.ones((5, 2)), "float32 [5, 2]"),
        (jnp.ones((5, 2, 3, 1)), "float32 [5, 2, 3, 1]"),
        (jnp.ones((5, 2, 3), int), "int32 [5, 2, 3]"),
    ],
)
def test_x(x, got):
    refused(f"x: expected floats [time, batch, features], got {got}", core.lstm, x, PARAMS)


def test_weights():
    lstm = core.lstm
    refused(
        "params.w_x: expected floats [3, 4, 6] for lstm, got float32 [2, 4, 6]",
        lstm,
        X,
        PARAMS._replace(w_x=np.ones((2, 4, 6))),
    )
    refused("params.w_x: expected floats [7, 4, 6] for lstm, got float32 [3, 4, 6]", lstm, np.ones((5, 2, 7)), PARAMS)
    refused(
        "params.w_h: expected floats [6, 4, 6] for lstm, got float32 [6, 4, 5]",
        lstm,
        X,
        PARAMS._replace(w_h=np.ones((6, 4, 5))),
    )
    refused("params.b: expected floats [4, 6] for lstm, got float32 [6]", lstm, X, PARAMS._replace(b=np.ones(6)))
    refused(
        "params.w_h: expected floats [6, 4, 6] for lstm, got int32 [6, 4, 6]",
        lstm,
        X,
        PARAMS._replace(w_h=np.ones((6, 4, 6), np.int32)),
    )
    refused("params: expected ElmanParams, got LSTMParams", core.elman, X, PARAMS)


def test_gru_bias():
    refused(
        "params.b_hn: expected shape [6] for reset_after=True, got None",
        core.gru,
        X,
        GRU_PARAMS._replace(b_hn=None),
    )
    refused(
        "params.b_hn: expected shape [6] for reset_after=True, got [1]",
        core.gru,
        X,
        GRU_PARAMS._replace(b_hn=np.ones(1)),
    )
    refused(
        "params.b_hn: expected None for reset_after=False, which has no such bias, got an array",
        core.gru,
        X,
        GRU_PARAMS,
        reset_after=False,
    )


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (np.array([5, 6]), "expected 0 to 5, the number of steps, got 5 to 6"),
        (np.array([-1, 2]), "expected 0 to 5, the number of steps, got -1 to 2"),
        (np.array([5, 4, 3]), "expected integers [2], got int64 [3]"),
        (np.array([[5, 4]]), "expected integers [2], got int64 [1, 2]"),
        (jnp.array([5.0, 4.0]), "expected integers [2], got float32 [2]"),
        (np.array([True, False]), "expected integers [2], got bool [2]"),
    ],
)
def test_lengths(lengths, message):
    refused(f"lengths: {message}", core.lstm, X, PARAMS, lengths=lengths)


def test_lengths_of_traced_values_are_checked_in_shape():
    function = jax.jit(lambda lengths: core.lstm(X, PARAMS, lengths=lengths))
    function(jnp.array([5, 3]))
    with pytest.raises(ValueError, match=r"^lengths: expected integers \[2\], got int32 \[1\]"):
        function(jnp.array([5]))


def test_state():
    refused("state: expected LSTMState, got GRUState", core.lstm, X, PARAMS, state=core.GRUState(STATE.h))
    refused("state: expected LSTMState, got tuple", core.lstm, X, PARAMS, state=(STATE.h, STATE.c))
    refused("state: expected GRUState, got LSTMState", core.gru, X, GRU_PARAMS, state=STATE)
    refused("state.c: expected shape [2, 6], got [3, 6]", core.lstm, X, PARAMS, state=STATE._replace(c=np.ones((3, 6))))


MASK = np.ones((5, 2), bool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": MASK, "lengths": np.array([5, 4])}, "mask: expected None beside lengths, got both"),
        ({"mask": MASK.T}, "mask: expected booleans [5, 2], got bool [2, 5]"),
        ({"mask": MASK.astype(int)}, "mask: expected booleans [5, 2], got int32 [5, 2]"),
        ({"resets": MASK[0]}, "resets: expected booleans [5, 2], got bool [2]"),
        ({"recurrent_dropout": np.ones((2, 5))}, "recurrent_dropout: expected floats [2, 6], got float32 [2, 5]"),
        ({"recurrent_dropout": np.ones((2, 6), bool)}, "recurrent_dropout: expected floats [2, 6], got bool [2, 6]"),
        ({"zoneout": core.GRUState(0.1)}, "zoneout: expected LSTMState, got GRUState"),
        ({"zoneout": core.LSTMState(0.1, 1.5)}, "zoneout.c: expected a share from 0 to 1, got 1.5"),
        (
            {"zoneout": core.LSTMState(np.ones((2, 6), bool), None)},
            "zoneout.h: expected a number or booleans [5, 2, 6], got bool [2, 6]",
        ),
        ({"max_gradient": 0.0}, "max_gradient: expected None or a number above 0, got 0.0"),
        ({"remat_chunk": 1.5}, "remat_chunk: expected None or a whole number above 0, got 1.5"),
        ({"remat_chunk": 0}, "remat_chunk: expected None or a whole number above 0, got 0"),
    ],
    ids=str,
)
def test_options(options, message):
    refused(message, core.lstm, X, PARAMS, **options)


def test_an_unknown_option_is_no_option():
    with pytest.raises(TypeError, match="length"):
        core.lstm(X, PARAMS, length=np.array([5, 4]))


def test_weights_of_the_variants():
    refused(
        "params.w_p: expected floats [6, 2] for lstm, got float32 [5, 2]",
        core.lstm,
        X,
        PARAMS._replace(w_p=np.ones((5, 2))),
    )
    refused(
        "params.w_h: expected floats [2, 4, 6] for lstm, got float32 [6, 4, 6]",
        core.lstm,
        X,
        PARAMS._replace(w_p=np.ones((6, 2))),
    )
    refused(
        "params.peephole: expected floats [3, 6] for lstm, got float32 [6]",
        core.lstm,
        X,
        PARAMS._replace(peephole=np.ones(6)),
    )
    norm = core.LSTMNorm(np.ones((4, 6)), np.ones((4, 6)), np.ones(6), np.ones(5))
    refused(
        "params.norm.c_shift: expected floats [6] for lstm, got float32 [5]", core.lstm, X, PARAMS._replace(norm=norm)
    )
    gru_norm = core.GRUNorm(np.ones((3, 6)), np.ones((3, 6)))
    refused(
        "layer_norm: expected False for a GRU with reset_after=False, got True",
        core.gru,
        X,
        GRU_PARAMS._replace(b_hn=None, norm=gru_norm),
        reset_after=False,
    )


def test_names():
    refused("activation: expected 'tanh' or 'relu', got 'gelu'", core.elman, X, PARAMS, activation="gelu")
    known = ", ".join(sorted(BACKENDS))
    refused(f"backend: expected None or one of {known}, got 'fast'", core.lstm, X, PARAMS, backend="fast")
    call = core.resolve_backend, core.lstm_cell(), X, PARAMS
    refused(f"backend: expected None or one of {known}, got 'fast'", *call, backend="fast")


def of_the_core(by_name):
    """Without the candidates, which other tests of the same process may have registered."""
    return {name: value for name, value in by_name.items() if name in ("cudnn", "native", "fused_scan", "reference")}


def test_resolve_backend_says_why_and_why_not_the_others():
    found = core.resolve_backend(core.lstm_cell(), jax.ShapeDtypeStruct(X.shape, "float32"), PARAMS, mask=MASK)
    assert found.name == "fused_scan"
    assert of_the_core(found.others) == {
        "cudnn": "needs an NVIDIA GPU, and this call runs on cpu",
        "native": "does not support mask",
        "reference": "can serve, and is slower",
    }
    description = BACKENDS["fused_scan"].description
    lines = str(found).splitlines()
    assert lines[0] == f"fused_scan: chosen: {description}"
    assert f"cudnn: {found.others['cudnn']}" in lines
    named = core.resolve_backend(core.lstm_cell(), X, PARAMS, backend="reference", reverse=True)
    assert named[:2] == ("reference", f"asked for: {BACKENDS['reference'].description}")
    assert named.others["fused_scan"] == "can serve, and reference was asked for"


def test_a_backend_that_cannot_serve_says_why():
    able = "fused_scan, native, reference" if library.choose().why_not is None else "fused_scan, reference"
    message = (
        f"backend: expected None or one of {able} for this call, got 'cudnn', which needs an NVIDIA GPU, and this call "
        "runs on cpu"
    )
    refused(message, core.lstm, X, PARAMS, backend="cudnn")
    refused(message, core.unroll_layers, core.lstm_cell(), X, [[PARAMS]], backend="cudnn")
    refused(message, core.resolve_backend, core.lstm_cell(), X, PARAMS, backend="cudnn")


def test_backends_lists_what_this_machine_has():
    assert of_the_core(core.backends()) == {
        "cudnn": "needs an NVIDIA GPU, and JAX runs on cpu",
        "native": library.choose().why_not,
        "fused_scan": None,
        "reference": None,
    }


class TestRegisteredBackend:
    @pytest.fixture(autouse=True)
    def same_backends_afterwards(self, monkeypatch):
        kept = dict(BACKENDS)
        yield
        BACKENDS.clear()
        BACKENDS.update(kept)

    def doubling(self, **fields):
        def run(x, directions):
            return [(2 * y, last) for y, last in BACKENDS["fused_scan"].run(x, directions)]

        return core.Backend(run, "twice as much", **fields)

    def test_it_serves_by_its_name_and_by_choice(self):
        expected, last = core.lstm(X, PARAMS, backend="fused_scan")
        core.register_backend("double", self.doubling())
        assert next(iter(core.backends())) == "double"
        assert core.resolve_backend(core.lstm_cell(), X, PARAMS).name == "double"
        for backend in (None, "double"):
            y, state = core.lstm(X, PARAMS, backend=backend)
            np.testing.assert_array_equal(y, 2 * expected)
            np.testing.assert_array_equal(state.h, last.h)
        y, _ = core.unroll_layers(core.lstm_cell(), X, [[PARAMS, PARAMS]], lengths=np.array([5, 2]))
        assert y.shape == (5, 2, 12)
        assert not y[2:, 1].any()

    def test_by_name_only_and_what_it_cannot_serve(self):
        refuses = self.doubling(
            why_not=lambda call: "does not support mask" if "mask" in call.options else None,
            why_not_chosen=lambda call: "was not measured yet",
        )
        core.register_backend("double", refuses)
        found = core.resolve_backend(core.lstm_cell(), X, PARAMS, all_states=True)
        assert found.name == "fused_scan"
        assert found.others["double"] == "can serve, and was not measured yet: by name only"
        with pytest.raises(ValueError, match="got 'double', which does not support mask"):
            core.lstm(X, PARAMS, mask=MASK, backend="double")

    def test_a_name_is_taken_once(self):
        backend = self.doubling()
        core.register_backend("double", backend)
        core.register_backend("double", backend)  # the same again, as when a module is imported anew
        refused(
            "name: expected a name that no backend has, got 'double'", core.register_backend, "double", self.doubling()
        )


def test_layers():
    cell = core.lstm_cell()
    message = "params: expected layers of one direction each, or of two each, got "
    refused(f"{message}[1, 2]", core.unroll_layers, cell, X, [[PARAMS], [PARAMS, PARAMS]])
    refused(f"{message}[]", core.unroll_layers, cell, X, [])
    refused(f"{message}[3]", core.unroll_layers, cell, X, [[PARAMS] * 3])
    refused(
        "state: expected one for each of the weights, [1], got [2]",
        core.unroll_layers,
        cell,
        X,
        [[PARAMS]],
        state=[[STATE, None]],
    )


def test_a_named_backend_is_the_one_that_runs():
    """Seen in the program: the reference projects the inputs inside its loop, the fused scan before it."""

    def products_outside(backend):
        program = jax.make_jaxpr(lambda x: core.lstm(x, PARAMS, backend=backend))(X)
        names = []

        def walk(jaxpr):
            for eqn in jaxpr.eqns:
                names.append(eqn.primitive.name)
                if eqn.primitive.name != "scan":
                    for value in eqn.params.values():
                        if hasattr(getattr(value, "jaxpr", value), "eqns"):
                            walk(getattr(value, "jaxpr", value))

        walk(program.jaxpr)
        return names.count("dot_general")

    assert products_outside("reference") == 0
    assert products_outside("fused_scan") == 1
