"""What the Hopper kernels compute, in JAX's operations: the same arrays in, the same arrays out.

For the backend around them. The kernels themselves are compared with the reference by `test_hopper_kernels.py`. In
float32 nothing is rounded to TF32, so that the comparison can be as narrow as for any other backend; in bfloat16 every
number is rounded that the kernels round.
"""

from collections import Counter
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from jaxrnn.core import call, versions
from jaxrnn.core.hopper import backend, pointwise
from jaxrnn.core.hopper.packing import pack_weights
from jaxrnn.core.hopper.plan import LANES, UNITS, operand_dtype

FUNCTIONS = SimpleNamespace(tanh=jnp.tanh, sigmoid=jax.nn.sigmoid)


@pytest.fixture
def launches(monkeypatch):
    """A machine with a Hopper GPU and CUTLASS, and how often each kernel is launched."""
    count = Counter()

    def launch(plan, sizes, output_dtype, inputs, outputs):
        count["backward" if plan.backward else "forward"] += 1
        found = (emulate_backward if plan.backward else emulate_forward)(plan, sizes, inputs, outputs)
        assert {name: (a.shape, a.dtype) for name, a in found.items()} == {
            name: (a.shape, a.dtype) for name, a in outputs.items()
        }
        return found

    on_hopper(monkeypatch)
    monkeypatch.setattr(backend, "launch", launch)
    monkeypatch.setattr(backend, "KERNEL", backend.KERNEL._replace(platform="cpu"))
    return count


def on_hopper(monkeypatch, capability="9.0"):
    """JAX seems to run on such a GPU, and CUTLASS to be installed."""
    monkeypatch.setattr(call, "_platform", lambda device: "cuda")
    monkeypatch.setattr(call, "_capability", lambda device: capability)
    monkeypatch.setattr(versions, "why_no_cutlass", lambda: None)


def emulate_forward(plan, sizes, inputs, outputs):
    cell, hand, dtype = plan.cell, pointwise.of_cell(plan.cell), operand_dtype(plan)
    w_h = unpack(plan, sizes, inputs["weights"])
    found = []
    for run, backwards in enumerate(sizes.reverse):

        def step(state, at, run=run):
            u, live = at
            pre = [u[:, gate] for gate in range(cell.num_gates)]
            if cell.num_slots > cell.num_gates:
                pre.append(jnp.broadcast_to(inputs["bias"][run], state[0].shape))
            operand, operands = state[0], []
            for number, product in enumerate(cell.products):
                if number > 0:
                    operand = hand.operand(FUNCTIONS, pre, state)
                    operands.append(jnp.where(live, operand, 0).astype(dtype))
                sums = multiply("bh,hgk->bgk", operand, w_h[run][:, product.gates], dtype)
                for k, slot in enumerate(product.slots):
                    pre[slot] = pre[slot] + sums[:, k]
            new, saved = hand.forward(FUNCTIONS, pre, state)
            state = [jnp.where(live, a, b) for a, b in zip(new, state, strict=True)]
            return state, (jnp.where(live, state[0], 0), jnp.stack(saved, 1), operands)

        states = [inputs[f"state{k}"][run] for k in range(hand.num_states)]
        at = inputs["inputs"][:, :, run], is_live(sizes, inputs)
        found.append(jax.lax.scan(step, states, at, reverse=backwards))
    y, saved, operands = (jax.tree.map(lambda *a: jnp.stack(a, 2), *(part[k] for _, part in found)) for k in range(3))
    last = {f"last{k}": jnp.stack([last[k] for last, _ in found]) for k in range(hand.num_states)}
    results = {"outputs": y.astype(outputs["outputs"].dtype), **last}
    if "saved" in outputs:
        results["saved"] = to_lanes(plan, sizes, saved)
        results |= dict(zip(["operands"], operands, strict=False))
    return results


def emulate_backward(plan, sizes, inputs, outputs):
    cell, hand, dtype = plan.cell, pointwise.of_cell(plan.cell), operand_dtype(plan)
    w_h, saved = unpack(plan, sizes, inputs["weights"]), from_lanes(plan, sizes, inputs["saved"])
    found = []
    for run, backwards in enumerate(sizes.reverse):

        def step(d_state, at, run=run):
            saved, d_y, live = at
            numbers = [saved[:, k] for k in range(hand.num_saved)]
            d_pre, d_old = hand.backward(FUNCTIONS, numbers, [d_state[0] + d_y, *d_state[1:]])
            d_pre, d_old = [jnp.where(live, d, 0) for d in d_pre], list(d_old)
            for number, product in reversed(list(enumerate(cell.products))):
                d_gates = jnp.stack([d_pre[slot] for slot in product.slots], 1)
                d_operand = multiply("bgk,hgk->bh", d_gates, w_h[run][:, product.gates], dtype)
                if number > 0:
                    d_first, d_operand = hand.operand_backward(numbers, d_operand)
                    d_pre[0] = jnp.where(live, d_first, 0)
                d_old[0] = d_old[0] + d_operand
            return [jnp.where(live, a, b) for a, b in zip(d_old, d_state, strict=True)], jnp.stack(d_pre, 1)

        d_states = [inputs[f"d_last{k}"][run] for k in range(hand.num_states)]
        at = saved[:, :, run], inputs["d_outputs"][:, :, run].astype("float32"), is_live(sizes, inputs)
        found.append(jax.lax.scan(step, d_states, at, reverse=not backwards))
    d_pre = jnp.stack([d for _, d in found], 2).astype(outputs["d_pre"].dtype)
    return {"d_pre": d_pre} | {f"d_state{k}": jnp.stack([d[k] for d, _ in found]) for k in range(hand.num_states)}


def multiply(equation, a, w, dtype):
    return jnp.einsum(equation, a.astype(dtype).astype("float32"), w.astype("float32"))


def is_live(sizes, inputs):
    assert inputs["lengths"].dtype == jnp.int32
    return (jnp.arange(sizes.time)[:, None] < inputs["lengths"])[..., None]


def unpack(plan, sizes, packed):
    """`[runs, hidden, gates, hidden]`: each element is packed into one place: the transpose is the inverse."""
    shape = jax.ShapeDtypeStruct((sizes.runs, plan.hidden, plan.cell.num_gates, plan.hidden), operand_dtype(plan))
    return jax.linear_transpose(lambda w: pack_weights(plan, w), shape)(packed)[0]


def to_lanes(plan, sizes, saved):
    """From `[time, batch, runs, num_saved, hidden]`; a lane has two units of two rows."""
    time, _, runs, num_saved, _ = saved.shape
    saved = saved.reshape(
        time, sizes.tiles, 2, UNITS, runs, num_saved, plan.cluster, plan.warps, 4, 2 // plan.per_word, plan.per_word
    )
    # run, time, tile, block, warp, number, row of eight, pair, row, and the two units, as words of `per_word`
    saved = saved.transpose(4, 0, 1, 6, 7, 5, 3, 8, 2, 9, 10)
    lanes = saved.reshape(*saved.shape[:6], LANES, 4 // plan.per_word, plan.per_word).astype(operand_dtype(plan))
    return jax.lax.bitcast_convert_type(lanes if plan.per_word > 1 else lanes.squeeze(-1), jnp.uint32)


def from_lanes(plan, sizes, words):
    """The way back."""
    numbers = jax.lax.bitcast_convert_type(words, operand_dtype(plan)).astype("float32")
    numbers = numbers.reshape(
        *words.shape[:6], UNITS, 4, 2, 2 // plan.per_word, plan.per_word
    )  # run, time, tile, block, warp, number, row of eight, pair, row, units
    numbers = numbers.transpose(1, 2, 8, 6, 0, 5, 3, 4, 7, 9, 10)
    return numbers.reshape(sizes.time, sizes.batch, sizes.runs, words.shape[5], plan.hidden)
