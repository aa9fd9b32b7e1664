"""The adapter to cuDNN, with JAX's own reading of cuDNN's arguments in the place of the library.

`jax.experimental.rnn.lstm_ref` is JAX's reference of its cuDNN call; it reads the same vector of weights.
"""

from collections import Counter
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import assert_trees_close, draw_params, draw_state, garbage_in_padding
from jax.experimental import rnn

from jaxrnn import core
from jaxrnn.core import call, versions
from jaxrnn.core.kernels import cudnn
from jaxrnn.core.registry import BACKENDS

T, B, D, H = 6, 5, 3, 4
LENGTHS = np.array([6, 0, 1, 4, 6])
LSTM = core.lstm_cell()


@pytest.fixture
def calls(monkeypatch):
    """A machine with cuDNN, and how often each pass is traced."""
    count = Counter()

    def forward(x, h, c, w, lengths, *sizes):
        assert x.dtype == w.dtype == jnp.float32
        assert lengths.dtype == jnp.int32
        *sizes, _ = sizes
        read = rnn.unpack_lstm_weights(w, *sizes[:3], sizes[4])
        return rnn.lstm_ref(x, h, c, *read, lengths, *sizes)

    def lstm_fwd(x, h, c, w, lengths, *sizes):
        count["forward"] += 1
        results = forward(x, h, c, w, lengths, *sizes)
        return results, (x, h, c, w, lengths, results[0], jnp.full(3, 7.0))

    def lstm_bwd(*arguments):
        *sizes, (x, h, c, w, lengths, y, reserve), cotangents = arguments
        count["backward"] += 1
        assert reserve.shape == (3,)
        results, pull = jax.vjp(lambda x, h, c, w: forward(x, h, c, w, lengths, *sizes), x, h, c, w)
        d_x, *rest = pull(cotangents)
        padding = jnp.arange(x.shape[1]) >= lengths[:, None]
        # It is cuDNN's business what it leaves there; and its y is what we were given.
        d_x = jnp.where(padding[..., None] | (jnp.abs(y - results[0]).max() > 1e-5), jnp.nan, d_x)
        return d_x, *rest, jnp.zeros_like(lengths)

    module = SimpleNamespace(lstm_fwd=lstm_fwd, lstm_bwd=lstm_bwd)
    monkeypatch.setattr(versions, "cudnn_lstm", lambda: module)
    monkeypatch.setattr(call, "_platform", lambda device: "cuda")
    monkeypatch.setattr(cudnn, "KERNEL", cudnn.KERNEL._replace(platform="cpu"))
    return count


def draw(rng, layers, directions):
    widths = [D] + [directions * H] * (layers - 1)
    params = [[draw_params(rng, "lstm", width, H, np.float32) for _ in range(directions)] for width in widths]
    state = [[draw_state(rng, "lstm", B, H, dtype=np.float32) for _ in range(directions)] for _ in widths]
    return rng.normal(size=(T, B, D)).astype(np.float32), params, state


def outputs_and_gradients(backend, x, params, state, lengths, cotangents):
    @jax.jit
    def run(x, params, state, lengths):
        def unroll(x, params, state):
            return core.unroll_layers(LSTM, x, params, lengths=lengths, state=state, backend=backend)

        results, pull = jax.vjp(unroll, x, params, state)
        return results, pull(cotangents)

    return run(x, params, state, lengths)


@pytest.mark.parametrize(("layers", "directions", "lengths"), [(1, 1, None), (2, 2, LENGTHS), (2, 1, LENGTHS)])
def test_outputs_states_and_all_gradients(layers, directions, lengths, calls, rng):
    x, params, state = draw(rng, layers, directions)
    if lengths is not None:
        x = garbage_in_padding(x, lengths)
    d_y = rng.normal(size=(T, B, directions * H)).astype(np.float32)
    cotangents = d_y, tuple(tuple(jax.tree.map(np.cos, s) for s in layer) for layer in state)
    expected = outputs_and_gradients("reference", x, params, state, lengths, cotangents)
    assert not calls
    actual = outputs_and_gradients("cudnn", x, params, state, lengths, cotangents)
    assert calls["forward"]
    assert calls["backward"] == 1
    assert_trees_close(actual, expected, 1e-5)


def loss(backend, x, params, lengths=LENGTHS):
    y, last = core.lstm(x, params, lengths=lengths, backend=backend)
    return (y**2).sum() + last.c.sum()


def test_one_direction_is_served_as_the_scans_are(calls, rng):
    x, [[params]], _ = draw(rng, 1, 1)
    gradients = {
        backend: jax.grad(lambda params, b=backend: loss(b, x, params))(params) for backend in ("reference", "cudnn")
    }
    assert calls["backward"] == 1
    assert_trees_close(gradients["cudnn"], gradients["reference"], 1e-5)


def derivatives(x, params, backend, names):
    """Those asked for, each a derivative that cuDNN itself has not."""
    tangent = jax.tree.map(np.sin, params)
    ensemble = jax.tree.map(lambda a: np.stack([a, 2 * a]), params)

    def of(params, x=x, lengths=LENGTHS):
        return loss(backend, x, params, lengths)

    def in_chunks(params):
        return (core.lstm(x, params, lengths=LENGTHS, remat_chunk=4, backend=backend)[0] ** 2).sum()

    rows = x.swapaxes(0, 1)[:, :, None]
    found = {
        "forward mode": lambda: jax.jvp(of, (params,), (tangent,)),
        "each row": lambda: jax.vmap(jax.grad(of), in_axes=(None, 0, 0))(params, rows, LENGTHS[:, None]),
        "linearized": lambda: jax.linearize(of, params)[1](tangent),
        "forward over reverse": lambda: jax.jvp(jax.grad(of), (params,), (tangent,)),
        "reverse over reverse": lambda: jax.grad(lambda p: sum((g**2).sum() for g in jax.grad(of)(p)[:3]))(params),
        "ensemble": lambda: jax.vmap(of)(ensemble),
        "gradient of an ensemble": lambda: jax.grad(lambda p: jax.vmap(of)(p).sum())(ensemble),
        "checkpoint": lambda: jax.grad(jax.checkpoint(of))(params),
        "chunks": lambda: jax.grad(in_chunks)(params),
    }
    return jax.jit(lambda: {name: found[name]() for name in names})()


@pytest.mark.parametrize(
    "names",
    [
        ("forward mode", "each row"),
        pytest.param(("linearized", "forward over reverse", "reverse over reverse"), marks=pytest.mark.slow),
        pytest.param(("ensemble", "gradient of an ensemble", "checkpoint", "chunks"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_every_other_derivative_is_served(names, calls, rng):
    x, [[params]], _ = draw(rng, 1, 1)
    expected = derivatives(x, params, "reference", names)
    assert not calls
    actual = derivatives(x, params, "cudnn", names)
    assert calls["forward"]
    for name, value in expected.items():
        assert_trees_close(actual[name], value, 3e-5)


def test_what_cudnn_has_not_is_left_to_plain_operations(calls, rng):
    x, [[params]], _ = draw(rng, 1, 1)
    rows = x.swapaxes(0, 1)[:, :, None]
    program = jax.jit(jax.vmap(lambda x, n: loss("cudnn", x, params, n))).trace(rows, LENGTHS[:, None])
    assert "kernel_" not in str(program.jaxpr)
    assert "kernel_forward" in str(jax.make_jaxpr(lambda x: loss("cudnn", x, params))(x))


def test_on_another_platform_the_plain_operations_run(calls, rng, monkeypatch):
    """Chosen for a GPU, lowered for another: no call of cuDNN's is left in the program."""
    monkeypatch.setattr(cudnn, "KERNEL", cudnn.KERNEL._replace(platform="cuda"))
    x, [[params]], _ = draw(rng, 1, 1)
    gradients = [jax.grad(lambda p, b=b: loss(b, x, p))(params) for b in ("cudnn", "reference")]
    assert_trees_close(*gradients, 1e-5)
    assert not calls["backward"]


REFUSED = [
    ({"backend": "cudnn", "reverse": True}, "runs a direction in reverse beside the other alone"),
    ({"mask": np.ones((T, B), bool)}, "does not support mask"),
    ({"max_gradient": 1.0, "all_states": True}, "does not support max_gradient, all_states"),
]


@pytest.mark.usefixtures("calls")
class TestTable:
    def params(self, dtype=np.float32, name="lstm"):
        return draw_params(np.random.default_rng(0), name, D, H, dtype)

    def resolve(self, params, *, name="lstm", x=(T, B, D), **options):
        cell = {"lstm": LSTM, "gru": core.gru_cell(True)}[name]
        return core.resolve_backend(cell, jax.ShapeDtypeStruct(x, "float32"), params, **options)

    @pytest.mark.parametrize(("options", "reason"), REFUSED, ids=str)
    def test_options_are_refused_by_name(self, options, reason):
        with pytest.raises(ValueError, match=rf"got 'cudnn', which {reason}"):
            self.resolve(self.params(), **(options | {"backend": "cudnn"}))
        options.pop("backend", None)
        assert self.resolve(self.params(), **options).name == "fused_scan"
        assert reason in self.resolve(self.params(), **options).others["cudnn"]

    def test_cells_dtypes_sizes_and_precisions(self):
        params = self.params()
        gru = self.params(name="gru_reset_after")
        narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), params)
        projected = params._replace(w_p=np.ones((H, H), np.float32))
        why = {
            "gru": self.resolve(gru, name="gru").others["cudnn"],
            "bfloat16": self.resolve(narrow).others["cudnn"],
            "w_p": self.resolve(projected).others["cudnn"],
            "one step": self.resolve(params, x=(0, B, D)).others["cudnn"],
        }
        with jax.default_matmul_precision("bfloat16"):
            why["'bfloat16'"] = self.resolve(params).others["cudnn"]
        with jax.default_matmul_precision("float32"):
            assert "can serve" in self.resolve(params).others["cudnn"]
        assert "plain LSTM" in why.pop("gru")
        for word, reason in why.items():
            assert word in reason

    def test_it_is_chosen_where_it_can_serve_once_it_is_measured(self, monkeypatch):
        params = self.params()
        found = self.resolve(params)
        assert found.name == "fused_scan"
        assert found.others["cudnn"] == "can serve, and was not measured yet: by name only"
        assert core.backends()["cudnn"] is None
        monkeypatch.setitem(BACKENDS, "cudnn", BACKENDS["cudnn"]._replace(why_not_chosen=lambda call: None))
        assert self.resolve(params).name == "cudnn"
        assert self.resolve([[params, params]]).name == "cudnn"
        assert self.resolve(params).others["fused_scan"] == "can serve, and is slower"
        assert self.resolve(params, reverse=True).name == "fused_scan"
        assert self.resolve(params, remat_chunk=2).name == "cudnn"

    def test_it_is_chosen_inside_jit(self, monkeypatch, calls):
        monkeypatch.setitem(BACKENDS, "cudnn", BACKENDS["cudnn"]._replace(why_not_chosen=lambda call: None))
        jax.jit(lambda x, n: core.lstm(x, self.params(), lengths=n)[0])(np.ones((T, B, D), np.float32), LENGTHS)
        assert calls["forward"]


def test_without_the_plugin_it_says_so_and_is_never_traced(monkeypatch):
    assert versions.cudnn_lstm() == "JAX's CUDA plugin is not installed: pip install 'jaxrnn[cuda13]'"
    monkeypatch.setattr(call, "_platform", lambda device: "cuda")
    monkeypatch.setitem(BACKENDS, "cudnn", BACKENDS["cudnn"]._replace(why_not_chosen=lambda call: None))
    params = draw_params(np.random.default_rng(0), "lstm", D, H, np.float32)
    assert core.resolve_backend(LSTM, jnp.ones((T, B, D)), params).name == "fused_scan"
    assert "plugin" in core.backends()["cudnn"]
    with pytest.raises(ValueError, match="which JAX's CUDA plugin is not installed"):
        core.lstm(jnp.ones((T, B, D)), params, backend="cudnn")
