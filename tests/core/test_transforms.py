"""JAX's transformations on the fast path: each against a loop, another mode, or one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, assert_trees_close, draw_params, draw_state, run, run_and_pull
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxrnn import core

TIME, BATCH, FEATURES, HIDDEN = 5, 4, 3, 4
TOLERANCE = 1e-12  # float64
LENGTHS = np.array([5, 0, 3, 1])

pytestmark = pytest.mark.usefixtures("x64")


def draw(name, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(TIME, BATCH, FEATURES))
    return x, draw_params(rng, name, FEATURES, HIDDEN), draw_state(rng, name, BATCH, HIDDEN)


def loss_of(name, x, params, state, lengths=LENGTHS):
    y, last = core.unroll(CELLS[name], x, params, state=state, lengths=lengths)
    return jnp.sum(y**2) + sum(jnp.sum(part**3) for part in last)


@pytest.mark.parametrize("name", ["lstm_all", "gru_reset_before"])
def test_gradients_of_each_example(name):
    x, params, state = draw(name)

    def of_one(x, state, length):
        add_row = jax.tree.map(lambda a: a[..., None, :], (x, state))
        return jax.grad(lambda p: loss_of(name, add_row[0], p, add_row[1], length[None]))(params)

    together = jax.jit(jax.vmap(of_one, in_axes=(1, 0, 0)))(x, state, jnp.asarray(LENGTHS))
    for row in range(BATCH):
        expected = jax.jit(of_one)(x[:, row], jax.tree.map(lambda a, row=row: a[row], state), jnp.asarray(LENGTHS[row]))
        assert_trees_close(jax.tree.map(lambda a, row=row: a[row], together), expected, TOLERANCE)
    assert not any(np.any(leaf[1]) for leaf in jax.tree.leaves(together.w_x))  # of the empty row


def test_ensembles_of_weights():
    x, params, state = draw("lstm_all")
    members = jax.tree.map(lambda a: np.stack([a, 0.5 * a, -a]), params)
    together = jax.jit(jax.vmap(jax.grad(loss_of, argnums=2), in_axes=(None, None, 0, None)), static_argnums=0)(
        "lstm_all", x, members, state
    )
    for k in range(3):
        member = jax.tree.map(lambda a, k=k: a[k], members)
        expected = jax.grad(loss_of, argnums=2)("lstm_all", x, member, state)
        assert_trees_close(jax.tree.map(lambda a, k=k: a[k], together), expected, TOLERANCE)


@pytest.mark.parametrize("name", ["lstm_all", "gru_reset_before"])
def test_hessian_vector_products(name):
    """Forward over reverse, against differences of the gradient."""
    x, params, state = draw(name)
    gradient = jax.jit(lambda p: jax.grad(lambda p: loss_of(name, x, p, state))(p))
    direction = jax.tree.map(lambda a: np.cos(3 * a), params)
    _, product = jax.jit(lambda p, v: jax.jvp(gradient, (p,), (v,)))(params, direction)
    step = 1e-5
    above, below = (gradient(jax.tree.map(lambda a, d, s=s: a + s * d, params, direction)) for s in (step, -step))
    expected = jax.tree.map(lambda a, b: (a - b) / (2 * step), above, below)
    assert_trees_close(product, expected, 1e-7)  # differences have an error of about step²


def test_jacobian_in_forward_mode():
    x, params, state = draw("gru_reset_after")

    def f(h):
        return core.gru(x, params, state=core.GRUState(h), lengths=LENGTHS)[1].h

    assert_trees_close(jax.jit(jax.jacfwd(f))(state.h), jax.jit(jax.jacrev(f))(state.h), TOLERANCE)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_checkpoint_and_no_jit(checkpoint):
    x, params, state = draw("lstm_all")
    cotangents = (np.ones((TIME, BATCH, HIDDEN - 1)), state)
    expected = run_and_pull("lstm_all")(x, params, state, LENGTHS, cotangents)

    def unroll(x, params, state):
        return core.lstm(x, params, lengths=LENGTHS, state=state)

    results, pull = jax.vjp(jax.checkpoint(unroll) if checkpoint else unroll, x, params, state)
    assert_trees_close((results, pull(cotangents)), expected, TOLERANCE)


def test_an_exported_program_gives_the_same_numbers():
    x, params, state = draw("lstm_all")
    function = jax.jit(lambda x, params, state: core.lstm(x, params, state=state, lengths=jnp.asarray(LENGTHS)))
    again = jax.export.deserialize(jax.export.export(function)(x, params, state).serialize())
    assert_trees_close(again.call(x, params, state), function(x, params, state), TOLERANCE)


def test_the_state_can_be_donated():
    x, params, state = draw("gru_reset_after")
    expected = core.gru(x, params, state=state)
    state = jax.tree.map(jnp.array, state)
    step = jax.jit(lambda state, x, params: core.gru(x, params, state=state), donate_argnums=0)
    assert_trees_close(step(state, x, params), expected, TOLERANCE)
    assert state.h.is_deleted()


@pytest.mark.parametrize("name", ["lstm", "gru_reset_before"])
def test_rows_divided_by_shard_map(name):
    """Each of two devices has half of the rows, and all gradients are as on one."""
    x, params, state = draw(name)
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    rows = P("data")

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=(P(None, "data"), P(), rows, rows), out_specs=(P(None, "data"), rows))
    def unroll(x, params, state, lengths):
        return core.unroll(CELLS[name], x, params, state=state, lengths=lengths)

    def sharded_loss(x, params, state):
        y, last = unroll(x, params, state, jnp.asarray(LENGTHS))
        return jnp.sum(y**2) + sum(jnp.sum(part**3) for part in last)

    expected = jax.value_and_grad(lambda *a: loss_of(name, *a), argnums=(0, 1, 2))(x, params, state)
    actual = jax.jit(jax.value_and_grad(sharded_loss, argnums=(0, 1, 2)))(x, params, state)
    assert_trees_close(actual, expected, TOLERANCE)
    y, _ = unroll(x, params, state, jnp.asarray(LENGTHS))
    assert y.sharding.shard_shape(y.shape) == (TIME, BATCH // 2, HIDDEN)


def test_rows_divided_by_the_partitioner_stay_where_they_are():
    """Without `shard_map` too: devices send each other gradients of weights, and no activations."""
    x, params, state = draw("lstm")
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    x, state = (
        jax.device_put(tree, jax.sharding.NamedSharding(mesh, spec))
        for tree, spec in ((x, P(None, "data")), (state, P("data")))
    )
    gradient = jax.jit(jax.grad(lambda params, x, state: loss_of("lstm", x, params, state)))
    expected = gradient(params, *draw("lstm")[::2])
    params = jax.device_put(params, jax.sharding.NamedSharding(mesh, P()))
    with jax.set_mesh(mesh):
        program = gradient.lower(params, x, state).compile().as_text()
        assert_trees_close(gradient(params, x, state), expected, TOLERANCE)
    assert "all-reduce" in program
    assert "all-gather" not in program


def test_without_a_state_inside_shard_map():
    x, params, _ = draw("lstm")
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    unroll = jax.jit(
        jax.shard_map(
            lambda x, lengths: core.lstm(x, params, lengths=lengths)[0],
            mesh=mesh,
            in_specs=(P(None, "data"), P("data")),
            out_specs=P(None, "data"),
        )
    )
    expected, _ = run("lstm", x, params, lengths=LENGTHS)
    np.testing.assert_allclose(unroll(x, jnp.asarray(LENGTHS)), expected, rtol=0, atol=TOLERANCE)
