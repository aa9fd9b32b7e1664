"""The compiled Hopper kernels against the reference scan: their PTX, run on the CPU."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.candidates.hopper.launch import backward_outputs, forward_outputs
from benchmarks.candidates.hopper.packing import pack_weights
from benchmarks.candidates.hopper.plan import CELLS, Plan, Sizes, operand_dtype
from jaxrnn import core
from jaxrnn.core import cells
from jaxrnn.core.control import Direction, Loop, Steps, length_mask
from jaxrnn.core.scans.reference import reference_scan

pytest.importorskip("cutlass", reason="the extra `hopper` (nvidia-cutlass-dsl) is not installed")
kernels = pytest.importorskip("hopper_kernels")

pytestmark = pytest.mark.slow

SIZES = Sizes(time=5, batch=32, reverse=(False, True))  # two tiles; both directions in one launch
LARGE = Sizes(time=3, batch=16, reverse=(True,))  # for what takes long


class Case:
    """A cell with random arrays; one tile of it ends before the last step, and some rows have no step at all."""

    def __init__(self, cell_name, hidden, element_bytes, sizes, rng):
        self.hidden, self.plan, self.sizes = hidden, Plan(cell_name, hidden, element_bytes), sizes
        self.cell, self.dtype = self.plan.cell, operand_dtype(self.plan)
        runs, batch, gates = self.sizes.runs, self.sizes.batch, self.cell.num_gates

        def draw(*shape):
            return rng.normal(size=shape).astype("float32")

        self.num_states = len(self.cell.state_type._fields)
        self.w_h = jnp.asarray(1.5 / np.sqrt(hidden) * draw(runs, hidden, gates, hidden)).astype(self.dtype)
        self.inputs = draw(self.sizes.time, batch, runs, gates, hidden)
        self.lengths = rng.integers(0, self.sizes.time + 1, batch).astype("int32")
        self.lengths[:-16] = np.minimum(self.lengths[:-16], self.sizes.time - 2)
        self.lengths[[-16, -1]] = 0, self.sizes.time
        self.bias = {"bias": draw(runs, hidden)} if self.cell is cells.GRU_RESET_AFTER else {}
        self.states = [draw(runs, batch, hidden) for _ in range(self.num_states)]
        self.d_outputs = jnp.asarray(draw(self.sizes.time, batch, runs, hidden)).astype(self.dtype)
        self.d_last = [draw(runs, batch, hidden) for _ in range(self.num_states)]

    def forward(self):
        inputs = {"inputs": self.inputs, "weights": pack_weights(self.plan, self.w_h), "lengths": self.lengths}
        inputs |= self.bias | {f"state{k}": state for k, state in enumerate(self.states)}
        return kernels.run(self.plan, self.sizes, inputs, forward_outputs(self.plan, self.sizes, self.dtype))

    def backward(self, saved):
        plan = self.plan._replace(backward=True)
        inputs = {"weights": pack_weights(plan, self.w_h), "lengths": self.lengths, "saved": saved}
        inputs |= {"d_outputs": self.d_outputs} | {f"d_last{k}": d for k, d in enumerate(self.d_last)}
        return kernels.run(plan, self.sizes, inputs, backward_outputs(plan, self.sizes))

    def reference(self, run, params_dtype):
        """One direction: its values, `(outputs, last states)`, and their pull-back to u, W_h, b_hn and the states.

        Products in `params_dtype`: in that of the kernel, h is rounded as there. The kernel starts from the projected
        input, so that the cell here projects nothing.
        """
        cell = self.cell._replace(project=lambda u, _: u.reshape(*u.shape[:-1], self.cell.num_gates, self.hidden))
        mask = length_mask(self.lengths, self.sizes.time)

        def scan(u, w_h, b_hn, states):
            zero = jnp.zeros((cell.num_gates, self.hidden))
            w_h = w_h.astype(params_dtype)
            lstm = self.cell is cells.LSTM
            params = core.LSTMParams(w_h, w_h, zero) if lstm else core.GRUParams(w_h, w_h, zero, b_hn)
            u = u.reshape(self.sizes.time, self.sizes.batch, -1)
            loop = Loop(cell, self.sizes.reverse[run])
            direction = Direction(loop, params, cell.state_type(*states), steps=Steps(mask=mask))
            y, last = reference_scan(u, direction)
            return jnp.where(mask[..., None], y, 0), tuple(last)

        b_hn = self.bias["bias"][run] if self.bias else None
        states = tuple(state[run] for state in self.states)
        return jax.vjp(jax.jit(scan), self.inputs[:, :, run], self.w_h[run].astype("float32"), b_hn, states)


def previous(outputs, h, lengths, *, reverse):
    """The h that each step started from: the output of the step before, and at the first one the initial h."""
    if not reverse:
        return np.concatenate([h[None], outputs[:-1]])
    shifted = np.concatenate([outputs[1:], h[None]])
    last = np.arange(len(outputs))[:, None] == lengths - 1
    return np.where(last[..., None], h, shifted)


def assert_close(found, expected, tolerance, name):
    """To a part of the largest expected magnitude."""
    expected = np.asarray(expected, "float32")
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(found, "float32"), expected, rtol=0, atol=atol, err_msg=name)


CASES = [
    *((name, 64, element_bytes, SIZES) for name in CELLS for element_bytes in (2, 4)),
    # 40 units in a block, which the steps of a product backward do not divide: the last one reads padding.
    ("gru_reset_before", 160, 2, SIZES),
    ("lstm", 384, 4, LARGE),  # 16 blocks in a cluster, weights in shared memory
]


@pytest.mark.parametrize(("cell_name", "hidden", "element_bytes", "sizes"), CASES)
def test_values_and_gradients(cell_name, hidden, element_bytes, sizes, rng):
    """Within the rounding of the operands and of what is saved, to 8 bits of fraction (bfloat16) or 11 (TF32).

    Values in bfloat16 are compared with a scan that rounds in the same places: a few roundings fall the other way.
    """
    case = Case(cell_name, hidden, element_bytes, sizes, rng)
    found = case.forward()
    found |= case.backward(found["saved"])
    values, gradients = (5e-4, 1e-2) if element_bytes == 2 else (2e-3, 2e-3)
    dead = np.arange(sizes.time)[:, None] >= case.lengths
    for run, reverse in enumerate(sizes.reverse):
        outputs, d_pre = found["outputs"][:, :, run].astype("float32"), found["d_pre"][:, :, run].astype("float32")
        (y, last), _ = case.reference(run, case.dtype)
        assert_close(outputs, y, max(values, 2.0**-8 if element_bytes == 2 else 0), "outputs")
        for k, state in enumerate(last):
            assert_close(found[f"last{k}"][run], state, values, f"last{k}")

        _, pull = case.reference(run, "float32")
        d_outputs = case.d_outputs[:, :, run].astype("float32")
        d_u, d_w, d_b, d_states = pull((d_outputs, tuple(jnp.asarray(d[run]) for d in case.d_last)))
        assert_close(d_pre[:, :, : case.cell.num_gates], d_u, gradients, "d_u")
        for k, d_state in enumerate(d_states):
            assert_close(found[f"d_state{k}"][run], d_state, gradients, f"d_state{k}")
        h = previous(outputs, case.states[0][run], case.lengths, reverse=reverse)
        for number, product in enumerate(case.cell.products):
            operand = h if number == 0 else found["operands"][:, :, run].astype("float32")
            d_gates = np.einsum("tbh,tbgk->hgk", operand, d_pre[:, :, list(product.slots)])
            assert_close(d_gates, d_w[:, product.gates], gradients, f"d_w_h of product {number}")
        if case.bias:
            assert_close(d_pre[:, :, 3].sum((0, 1)), d_b, gradients, "d_b_hn")
        assert not outputs[dead].any()
        assert not d_pre[dead].any()


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(
    ("cell_name", "hidden", "element_bytes"), [("lstm", 448, 2), ("lstm", 512, 2), ("lstm", 384, 4), ("gru", 512, 4)]
)
def test_the_largest_kernels_stay_in_registers(cell_name, hidden, element_bytes, backward):
    """At most 255, which is all that a thread can have, and nothing spilled to memory."""
    registers, stack = kernels.resources(Plan(cell_name, hidden, element_bytes, backward), SIZES)
    assert 128 < registers <= 255
    assert stack == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_training_step_lowers_to_two_launches(dtype):
    """Forward and backward, of both directions each, and no loop. For another platform, loops and no launch."""
    text = kernels.training_step(dtype, "cuda")
    assert len(re.findall(r"custom_call @CuteDSL\w+", text)) == 2
    assert "stablehlo.while" not in text
    text = kernels.training_step(dtype, "cpu")
    assert "CuteDSL" not in text
    assert "stablehlo.while" in text
