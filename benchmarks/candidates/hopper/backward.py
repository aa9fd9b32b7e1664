"""The backward kernel: the gradient of the pre-activations, from the last step to the first.

A block has the gradient of the state of its own units only. A step is

1. the pointwise derivative, from the numbers that the forward pass saved: d_pre of the block's units, all gates;
2. d_pre, rounded, into shared memory as a left operand, and one barrier of the block;
3. its product with the transpose of *the same* part of W_h that the block multiplies in the forward pass. The result
   is the block's share of the gradient of h, of all units of all blocks: each warp computes, for every block, the eight
   units that the warp of its own number owns there;
4. that share, sent in float32 from lane to lane: the receiving lane has the very rows and units that the sending one
   computed. It adds the shares of all blocks, in the order of their ranks, so that sums never vary from run to run.

Sending shares costs a quarter of what sending d_pre to all blocks would. The weights' gradients are not taken here:
they are one product over all steps, outside.

**Why two buffers are enough.** What a lane receives for exchange e is overwritten in exchange e + 2. The sending warp
gets there only after all shares of exchange e + 1 for its own units, one of which the receiving warp sent after it had
read those of exchange e. The operand of exchange e is overwritten in e + 2, after the block's barrier of e + 1, which
every warp reaches after its products of e.

Arrays, of float32 unless said, in the order of the names that the kernel is built for:

    weights, lengths, saved                         as in the forward kernel; the weights packed for this one
    d_outputs   [time, batch, runs, hidden]         of `output_bytes` an element
    d_last0,1   [runs, batch, hidden]
    d_pre       [time, batch, runs, slots, hidden]  in the products' dtype; 0 past the lengths
    d_state0,1  [runs, batch, hidden]
"""

# pyright: reportMissingImports=false
# The extra `hopper` has these packages; the environment of the checks has not.

from functools import lru_cache
from typing import Any

import cutlass
import cutlass.cute as cute
from cuda.bindings.driver import CUstream
from cutlass import Float32, Uint32

from benchmarks.candidates.hopper import ptx
from benchmarks.candidates.hopper.plan import PORTABLE, ROWS, WARP_PART, Plan, Sizes
from benchmarks.candidates.hopper.ptx import Value, select
from benchmarks.candidates.hopper.thread import PLACES, Thread


class Backward(Thread):
    """One thread of the backward kernel."""

    def __init__(self, plan: Plan, sizes: Sizes, output_bytes: int, arrays: dict[str, Value]) -> None:
        super().__init__(plan, sizes, arrays["lengths"])
        self.output_words, self.arrays = output_bytes // 2, arrays
        self.saved_words = 2 // plan.per_word  # of two numbers: one row's
        self.load_weights(arrays["weights"])
        self.d_state = [self.load_state(arrays[f"d_last{k}"]) for k in range(self.cell.num_states)]
        self._clear_padding()
        self.received = self.shared + Uint32(2 * plan.operand_bytes) + Uint32(self.warp * WARP_PART + self.lane * 16)
        barriers = self.shared + Uint32(plan.barriers_at) + Uint32(self.warp * 16)
        self.start_barriers(barriers, plan.cluster * WARP_PART, self.lane == 0)
        self.fetched = cute.make_rmem_tensor(2 * self.saved_words * self.cell.num_saved, Uint32)
        self.fetched_d_outputs = cute.make_rmem_tensor(2 * self.output_words, Uint32)
        self._fetch(cutlass.max(self.num_steps - 1, 0))

    def _clear_padding(self) -> None:
        """Zeros behind the columns of both operands, where a product's last k-step reads past them."""
        row = self.lane % (2 * ROWS)
        behind = row * self.plan.pitch + self.plan.columns * self.plan.element_bytes
        ptx.store_shared(self.shared + Uint32(behind), [Uint32(0)] * 4)

    def _fetch(self, step: Value) -> None:
        """Loads what the forward pass saved of a step and the gradient of its output into registers."""
        count = 2 * self.saved_words
        for k, address in enumerate(self.saved_address(self.arrays["saved"], step)):
            for j, word in enumerate(ptx.load_global(address, count)):
                self.fetched[k * count + j] = word
        rows, plan = self.at_time(self.time_of(step)), self.plan
        addresses = self.address(self.arrays["d_outputs"], rows, plan.hidden, 2 * self.output_words, self.unit)
        for r, address in enumerate(addresses):
            for j, word in enumerate(ptx.load_global(address, self.output_words)):
                self.fetched_d_outputs[r * self.output_words + j] = word

    def _numbers(self, fetched: Value, first: int, num_words: int) -> list[Value]:
        """The lane's four numbers from words of both rows."""
        words = [fetched[first + k] for k in range(2 * num_words)]
        return [x for r in range(2) for x in ptx.widened(words[r * num_words : (r + 1) * num_words])]

    def step(self, back: Value) -> None:
        """One step of the recurrence, the one `back` before the last."""
        step = self.num_steps - 1 - back
        time = self.time_of(step)
        live = self.live(time)
        count = self.saved_words
        saved = [self._numbers(self.fetched, 2 * count * k, count) for k in range(self.cell.num_saved)]
        d_outputs = self._numbers(self.fetched_d_outputs, 0, self.output_words)
        self._fetch(cutlass.max(step - 1, 0))
        d_pre, d_old = self._pointwise(saved, d_outputs, live)
        products = list(enumerate(self.plan.cell.products))
        for number, product in reversed(products):
            exchange = back * len(products) + (len(products) - 1 - number)
            buffer = Uint32(exchange & 1)
            self._multiply_and_send(number, [d_pre[slot] for slot in product.slots], buffer)
            if number == 0:
                self._store(time, d_pre)
            self.wait(buffer, exchange)
            for k, d_operand in enumerate(self._sum_of_shares(buffer)):
                if number == 0:  # whose operand is h
                    d_old[0][k] = d_old[0][k] + d_operand
                else:
                    d_first, d_h = self.cell.operand_backward([numbers[k] for numbers in saved], d_operand)
                    d_pre[0][k] = select(live[k // 2], d_first, Float32(0.0))
                    d_old[0][k] = d_old[0][k] + d_h
        for part, d_part in zip(self.d_state, d_old, strict=True):
            for k in PLACES:
                part[k] = select(live[k // 2], d_part[k], part[k])

    def _pointwise(
        self, saved: list[list[Value]], d_outputs: list[Value], live: list[Value]
    ) -> tuple[list[list[Value]], list[list[Value]]]:
        """The gradients of pre-activations, zero in rows that are held, and of the old state: `[slot][place]`."""
        d_pre, d_old = [], []
        for k in PLACES:
            d_state = [part[k] for part in self.d_state]
            d_state[0] = d_state[0] + d_outputs[k]
            d_slots, d_parts = self.cell.backward(self.functions, [numbers[k] for numbers in saved], d_state)
            d_pre.append([select(live[k // 2], Float32(x), Float32(0.0)) for x in d_slots])
            d_old.append([Float32(x) for x in d_parts])
        return [list(slot) for slot in zip(*d_pre, strict=True)], [list(part) for part in zip(*d_old, strict=True)]

    def _multiply_and_send(self, number: int, d_gates: list[list[Value]], buffer: Value) -> None:
        """The block's share of a product's gradient, sent to the blocks whose units it belongs to."""
        plan = self.plan
        operand = self.shared + buffer * plan.operand_bytes
        gates = plan.gates[number]
        for gate, numbers in zip(gates, d_gates, strict=True):
            column = Uint32((self.own_unit + gate * plan.units) * plan.element_bytes)
            for r in range(2):
                words = ptx.rounded(*numbers[2 * r : 2 * r + 2], narrow=self.narrow)
                ptx.store_shared(operand + Uint32((self.group + 8 * r) * plan.pitch) + column, words)
        cute.arch.sync_threads()
        columns = operand + Uint32(gates[0] * plan.units * plan.element_bytes)
        mine = self.received - self.shared + Uint32(self.rank * (plan.warps * WARP_PART))
        for first in range(0, plan.cluster, PORTABLE):  # the sums of 16 blocks at once would take too many registers
            blocks = self.blocks[first : first + PORTABLE]
            shares = self.multiply(number, columns, [[Float32(0.0)] * 4] * len(blocks), first)
            for block, share in zip(blocks, shares, strict=True):
                barrier = block + (self.barriers - self.shared) + buffer * 8
                ptx.send(block + mine + buffer * plan.received_bytes, [ptx.bits(x) for x in share], barrier)

    def _sum_of_shares(self, buffer: Value) -> list[Value]:
        """The lane's four numbers, of all blocks' shares."""
        plan = self.plan
        at = self.received + buffer * plan.received_bytes
        total = ptx.load_shared(at, Float32)
        for rank in range(1, plan.cluster):
            share = ptx.load_shared(at + Uint32(rank * plan.warps * WARP_PART), Float32)
            total = [a + b for a, b in zip(total, share, strict=True)]
        return total

    def _store(self, time: Value, d_pre: list[list[Value]]) -> None:
        """The gradient of the pre-activations, `[time, batch, runs, slots, hidden]`."""
        plan = self.plan
        for slot, numbers in enumerate(d_pre):
            offset = self.unit + slot * plan.hidden
            width = len(d_pre) * plan.hidden
            addresses = self.address(self.arrays["d_pre"], self.at_time(time), width, plan.element_bytes, offset)
            for r, address in enumerate(addresses):
                ptx.store_global(address, ptx.rounded(*numbers[2 * r : 2 * r + 2], narrow=self.narrow))

    def pad(self, time: Value) -> None:
        """Zeros at a time at which no row of the tile has a step."""
        self._store(time, [[Float32(0.0)] * 4] * self.plan.cell.num_slots)

    def finish(self) -> None:
        """The gradients of the initial states; nobody leaves while others may still send to it."""
        for k, part in enumerate(self.d_state):
            self.store_state(self.arrays[f"d_state{k}"], part)
        self.meet_cluster()


@lru_cache
def backward_kernel(plan: Plan, sizes: Sizes, output_bytes: int, names: tuple[str, ...]) -> Any:
    """The kernel for arrays of these names, as a function that `cutlass_call` can launch."""

    @cute.kernel
    def kernel(arrays: tuple) -> Any:
        pointers = {n: a.iterator.toint() for n, a in zip(names, arrays, strict=True)}
        thread = Backward(plan, sizes, output_bytes, pointers)
        for back in cutlass.range(thread.num_steps, unroll=1):
            Backward.step(thread, back)
        for time in cutlass.range(thread.num_steps, sizes.time, unroll=1):
            Backward.pad(thread, time)
        thread.finish()

    @cute.jit
    def launch(stream: CUstream, *arrays: cute.Tensor) -> Any:
        kernel(arrays).launch(
            grid=[plan.cluster, sizes.tiles, sizes.runs],
            block=[plan.threads, 1, 1],
            cluster=[plan.cluster, 1, 1],
            stream=stream,
        )

    return launch
