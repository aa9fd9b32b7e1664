"""The Hopper kernels' plan, packing and pointwise functions, none of which needs CUTLASS or a GPU."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.candidates.hopper import pointwise
from benchmarks.candidates.hopper.packing import pack_weights
from benchmarks.candidates.hopper.plan import CELLS, Plan, Sizes, fits, operand_dtype
from jaxrnn import core


def test_nothing_imports_cutlass():
    """Neither the backend nor what it asks before a kernel is launched."""
    code = (
        "import sys; sys.modules['cutlass'] = None; import benchmarks.candidates.hopper; from jaxrnn import core;"
        "core.backends();"
        "print(sorted(name for name in sys.modules if name.startswith('benchmarks.candidates.hopper.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = ("backend", "launch", "packing", "plan", "pointwise")
    assert done.stdout == f"{[f'benchmarks.candidates.hopper.{part}' for part in parts]}\n"


def test_sizes_of_an_lstm():
    """By hand, for H 256 in bfloat16: 8 blocks of 32 units, 4 warps in each."""
    forward, backward = Plan("lstm", 256, 2), Plan("lstm", 256, 2, backward=True)
    for plan in (forward, backward):
        assert (plan.cluster, plan.units, plan.warps, plan.threads) == (8, 32, 4, 128)
    # 256 rows of h in steps of 16, by 4 gates; all words in registers. 16 rows of 512 bytes and 16 more, twice.
    assert (forward.k_steps, forward.widths, forward.words, forward.resident) == ((16,), (4,), 128, 128)
    assert forward.shared_bytes == 2 * 16 * (512 + 16) + 16
    # 4 · 32 gates of the block's units in steps of 16, to 8 blocks; 32 words of each thread in shared memory.
    assert (backward.k_steps, backward.widths, backward.words, backward.resident) == ((8,), (8,), 128, 96)
    operands, received = 16 * (4 * 32 * 2 + 16), 8 * 4 * 32 * 16
    assert backward.weights_at == 2 * (operands + received)
    assert backward.shared_bytes == backward.weights_at + 32 * 4 * 128 + 4 * 16


def test_sizes_of_a_gru_whose_product_waits():
    """H 320 as TF32: 8 blocks of 40 units, 5 warps; r and z in one product, n in another, steps of 8."""
    forward, backward = (Plan("gru_reset_before", 320, 4, backward=b) for b in (False, True))
    assert (forward.cluster, forward.units, forward.warps, forward.gates) == (8, 40, 5, ((0, 1), (2,)))
    assert (forward.k_steps, forward.widths, forward.words, forward.resident) == ((40, 40), (2, 1), 240, 128)
    assert (backward.k_steps, backward.widths, backward.words, backward.resident) == ((10, 5), (8, 8), 240, 80)


@pytest.mark.parametrize(("hidden", "cluster"), [(64, 2), (128, 4), (192, 4), (256, 8), (320, 8), (448, 8)])
def test_a_cluster_has_at_least_four_warps_in_each_block(hidden, cluster):
    plan = Plan("lstm", hidden, 2)
    assert plan.cluster == cluster
    assert plan.cluster * plan.warps * 8 == hidden
    assert plan.warps >= 4


@pytest.mark.parametrize(
    ("cell_name", "element_bytes", "largest", "with_16_blocks"),
    [
        ("lstm", 2, 448, 512),
        ("lstm", 4, 320, 384),
        ("gru", 2, 512, 640),
        ("gru", 4, 384, 512),
        ("gru_reset_before", 2, 512, 640),
        ("gru_reset_before", 4, 384, 512),
    ],
)
def test_what_the_chip_has_room_for(cell_name, element_bytes, largest, with_16_blocks):
    """In both passes: all up to a size, and one larger size, of 128, in a cluster of twice as many blocks."""
    found = [hidden for hidden in range(64, 1025, 64) if fits(cell_name, hidden, element_bytes)]
    assert found == [*range(64, largest + 1, 64), with_16_blocks]
    assert [Plan(cell_name, hidden, element_bytes).cluster for hidden in (largest, with_16_blocks)] == [8, 16]


def test_tiles_and_runs():
    sizes = Sizes(time=5, batch=48, reverse=(False, True))
    assert (sizes.tiles, sizes.runs) == (3, 2)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("element_bytes", [2, 4], ids=["bfloat16", "tf32"])
@pytest.mark.parametrize(
    ("cell_name", "hidden"), [("lstm", 64), ("gru", 64), ("gru_reset_before", 64), ("gru", 320), ("gru", 512)]
)
def test_each_lane_gets_its_fragment(cell_name, hidden, element_bytes, backward, rng):
    """PTX ISA, mma.m16n8k16 and .m16n8k8: lane 4 n + q holds column n, the rows `k` below."""
    plan = Plan(cell_name, hidden, element_bytes, backward)
    w = jnp.asarray(rng.normal(size=(1, hidden, plan.cell.num_gates, hidden))).astype(operand_dtype(plan))
    packed, w = np.asarray(pack_weights(plan, w)), np.asarray(w)
    assert packed.dtype == operand_dtype(plan)
    assert packed.shape == (1, plan.cluster, plan.warps, plan.words // 4, 32, 4, plan.per_word)
    words = packed[0].swapaxes(3, 4).reshape(plan.cluster, plan.warps, plan.words, 32, plan.per_word)
    start = 0
    for gates, k_steps, width in zip(plan.gates, plan.k_steps, plan.widths, strict=True):
        found = words[:, :, start : start + 2 * k_steps * width]
        start += 2 * k_steps * width
        found = found.reshape(plan.cluster, plan.warps, k_steps, width, 2, 32, plan.per_word)
        block, warp, step, column, half, lane, element = np.indices(found.shape)
        k = (8 * step + 4 * half + lane % 4) * plan.per_word + element
        own_unit = warp * 8 + lane // 4
        if backward:  # rows: the gates of the sending block's units; columns: units of the receiving block
            gate, unit = np.divmod(k, plan.units)
            inside = gate < len(gates)
            gate = np.array(gates)[np.where(inside, gate, 0)]
            expected = np.where(inside, w[0, column * plan.units + own_unit, gate, block * plan.units + unit], 0)
        else:  # rows: all of h; columns: a gate of the warp's units
            expected = w[0, k, np.array(gates)[column], block * plan.units + own_unit]
        np.testing.assert_array_equal(found, expected)
    assert start == plan.words


FUNCTIONS = SimpleNamespace(tanh=np.tanh, sigmoid=lambda x: 1 / (1 + np.exp(-x)))


def parameters(cell, hidden):
    """What `cell.pointwise` is given: parameters without effect on it."""
    w, b = np.zeros((hidden, cell.num_gates, hidden)), np.zeros((cell.num_gates, hidden))
    if cell.state_type is core.LSTMState:
        return core.LSTMParams(w, w, b)
    return core.GRUParams(w, w, b, np.zeros(hidden) if cell.num_slots > cell.num_gates else None)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("cell_name", CELLS)
def test_pointwise_functions_and_derivatives_are_the_cells(cell_name, rng):
    """In float64. The derivative by hand starts from what the function by hand saves."""
    cell, hand = CELLS[cell_name], pointwise.of_cell(CELLS[cell_name])
    pre = rng.normal(size=(3, cell.num_slots, 7))
    state = cell.state_type(*rng.normal(size=(len(cell.state_type._fields), 3, 7)))
    d_state = cell.state_type(*rng.normal(size=(len(state), 3, 7)))
    assert (hand.num_states, len(cell.products)) == (len(state), 1 + hasattr(hand, "operand"))
    params = parameters(cell, 7)
    new, pull = jax.vjp(lambda pre, state: cell.pointwise(pre, state, params), pre, state)
    d_pre, d_old = pull(cell.state_type(*map(jnp.asarray, d_state)))

    numbers = list(pre.swapaxes(0, 1))
    if hasattr(hand, "operand"):
        operand, pull = jax.vjp(cell.products[1].operand, pre, state)
        d_operand = rng.normal(size=(3, 7))
        np.testing.assert_allclose(hand.operand(FUNCTIONS, numbers, list(state)), operand, rtol=1e-12)
    found, saved = hand.forward(FUNCTIONS, numbers, list(state))
    assert len(saved) == hand.num_saved
    np.testing.assert_allclose(np.stack(found), np.stack(new), rtol=1e-12, atol=1e-14)

    found_pre, found_old = hand.backward(FUNCTIONS, saved, list(d_state))
    found_pre = [np.broadcast_to(x, (3, 7)) for x in found_pre]
    found_old = [np.broadcast_to(x, (3, 7)) for x in found_old]
    np.testing.assert_allclose(np.stack(found_pre, 1), d_pre, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.stack(found_old), np.stack(d_old), rtol=1e-12, atol=1e-14)
    if hasattr(hand, "operand"):
        d_pre, d_old = pull(jnp.asarray(d_operand))
        d_first, d_h = hand.operand_backward(saved, d_operand)
        np.testing.assert_allclose(d_first, d_pre[:, 0], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(d_h, d_old.h, rtol=1e-12, atol=1e-14)
