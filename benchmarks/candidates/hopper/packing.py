"""Weights in the order in which the lanes of the tensor cores hold them.

The instruction (m16n8k16 for bfloat16, m16n8k8 for TF32) gives lane 4 n + q of a warp two words of its right operand
B `[k, n]`: with E operands in a word, rows E q to E q + E - 1 of column n, and the same rows 4 E further down (PTX ISA,
"Matrix fragments for mma.m16n8k16"). A k-step therefore divides into [half, q, element], and a lane's words lie in
the order [product, k-step, column block, half].
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from benchmarks.candidates.hopper.plan import LANES, UNITS, Plan, operand_dtype


def pack_weights(plan: Plan, w_h: Float[Array, "runs hidden gates hidden"]) -> Array:
    """`[runs, cluster, warps, words / 4, lanes, 4, operands in a word]`: a lane loads four words at once.

    Forward, block and warp own output units: B is W_h `[hidden, gates of their units]`. Backward, a block owns rows of
    the transpose, B = `[gates of its units, hidden]`, and its warp w gets, of the units of every block, those that
    that block's warp w owns: what it sends goes from warp to warp, lane to lane.
    """
    w = w_h.astype(operand_dtype(plan))
    fragments = [
        (_backward if plan.backward else _forward)(plan, w[:, :, list(gates)], k_steps)
        for gates, k_steps in zip(plan.gates, plan.k_steps, strict=True)
    ]
    runs, per_word = w.shape[0], plan.per_word
    words = jnp.concatenate(fragments, axis=3)
    words = words.reshape(runs, plan.cluster, plan.warps, plan.words // 4, 4, LANES, per_word)
    return words.swapaxes(4, 5)


def _forward(plan: Plan, w: Array, k_steps: int) -> Array:
    runs, _, gates, _ = w.shape
    w = w.reshape(runs, k_steps, 2, 4, plan.per_word, gates, plan.cluster, plan.warps, UNITS)
    w = w.transpose(0, 6, 7, 1, 5, 2, 8, 3, 4)  # run, block, warp, k-step, gate, half, n, q, element
    return w.reshape(runs, plan.cluster, plan.warps, 2 * k_steps * gates, LANES, plan.per_word)


def _backward(plan: Plan, w: Array, k_steps: int) -> Array:
    runs, _, gates, _ = w.shape
    w = w.reshape(runs, plan.cluster, plan.warps, UNITS, gates, plan.cluster, plan.units)
    w = w.transpose(0, 5, 4, 6, 1, 2, 3)  # run, block, gate, its unit, receiving block, warp, n
    w = w.reshape(runs, plan.cluster, gates * plan.units, plan.cluster, plan.warps, UNITS)
    inner = 8 * plan.per_word * k_steps
    w = jnp.pad(w, [(0, 0), (0, 0), (0, inner - w.shape[2]), (0, 0), (0, 0), (0, 0)])
    w = w.reshape(runs, plan.cluster, k_steps, 2, 4, plan.per_word, plan.cluster, plan.warps, UNITS)
    w = w.transpose(0, 1, 7, 2, 6, 3, 8, 4, 5)  # run, block, warp, k-step, receiving block, half, n, q, element
    return w.reshape(runs, plan.cluster, plan.warps, 2 * k_steps * plan.cluster, LANES, plan.per_word)
