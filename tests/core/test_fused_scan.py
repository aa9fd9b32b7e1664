"""What the fused scan promises of its program: which products are inside the loops, and what the loops carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core_cases import CELLS, draw_params, draw_state, out_width

from jaxrnn import core

TIME, BATCH, FEATURES, HIDDEN = 5, 2, 3, 7


def equations(jaxpr):
    """All equations of a jaxpr, also those inside others' parameters."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def scans_of_gradient(name, backend, rng):
    """The forward and the reverse scan of the gradient of a sum over outputs and states, w.r.t. everything."""
    params = draw_params(rng, name, FEATURES, HIDDEN, np.float32)
    x = rng.normal(size=(TIME, BATCH, FEATURES)).astype(np.float32)
    state = draw_state(rng, name, BATCH, HIDDEN, dtype=np.float32)

    def loss(x, params, state):
        y, last = core.unroll(CELLS[name], x, params, lengths=jnp.array([5, 2]), state=state, backend=backend)
        return y.sum() + sum(part.sum() for part in last)

    program = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1, 2)))(x, params, state)
    scans = [eqn for eqn in equations(program.jaxpr) if eqn.primitive.name == "scan"]
    assert len(scans) == 2
    return scans


def dot_shapes(scan):
    """The shapes of both operands of every product in a scan's body."""
    body = scan.params["jaxpr"].jaxpr
    return [tuple(v.aval.shape for v in eqn.invars) for eqn in equations(body) if eqn.primitive.name == "dot_general"]


def carry_shapes(scan):
    """Of a scan's outputs, the carried ones are those that no time axis has been added to."""
    body = scan.params["jaxpr"].jaxpr
    pairs = [(inner.aval.shape, outer.aval.shape) for inner, outer in zip(body.outvars, scan.outvars, strict=True)]
    return [inner for inner, outer in pairs if inner == outer]


@pytest.mark.parametrize("name", CELLS)
def test_forward_loop_has_only_the_recurrent_products(name, rng):
    forward, _ = scans_of_gradient(name, "fused_scan", rng)
    out = out_width(name, HIDDEN)
    gates = [product.gates.stop - product.gates.start for product in CELLS[name].products]
    recurrent = [((BATCH, out), (out, g * HIDDEN)) for g in gates]
    projection = [((BATCH, HIDDEN), (HIDDEN, out))] if out != HIDDEN else []
    assert dot_shapes(forward) == recurrent + projection


@pytest.mark.parametrize("name", CELLS)
def test_reverse_loop_has_only_the_transposed_products_and_carries_no_weight_gradient(name, rng):
    _, reverse = scans_of_gradient(name, "fused_scan", rng)
    out = out_width(name, HIDDEN)
    gates = [product.gates.stop - product.gates.start for product in CELLS[name].products]
    recurrent = [((BATCH, g * HIDDEN), (g * HIDDEN, out)) for g in reversed(gates)]  # turned round before the loop
    projection = [((BATCH, out), (HIDDEN, out))] if out != HIDDEN else []
    assert dot_shapes(reverse) == projection + recurrent
    # Vectors' gradients are carried (gains, peepholes, b_hn), none of a matrix.
    weights = [(HIDDEN, g, HIDDEN) for g in (1, 3, 4)] + [(out, 4, HIDDEN), (HIDDEN, out)]
    assert not set(weights) & set(carry_shapes(reverse))


def test_what_is_saved_for_the_reverse_pass(rng):
    """Four pre-activations, h and c entered with, and the output: no gate, and nothing twice."""
    forward, _ = scans_of_gradient("lstm", "fused_scan", rng)
    stacked = [v.aval.shape for v in forward.outvars if v.aval.shape[:2] == (TIME, BATCH)]
    assert sum(np.prod(shape) for shape in stacked) == 7 * TIME * BATCH * HIDDEN


def test_the_reference_does_carry_the_weight_gradient(rng):
    """So the checks above can fail."""
    _, reverse = scans_of_gradient("lstm", "reference", rng)
    assert (HIDDEN, 4, HIDDEN) in carry_shapes(reverse)
    assert len(dot_shapes(reverse)) > 1
