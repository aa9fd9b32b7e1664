"""The forward kernel: a recurrence whose weights stay on the chip and whose hidden state never leaves it.

Each block of a cluster holds all of h, 16 rows, as the left operand of its products, twice over. A step is

1. the pre-activations: the projected input, fetched a step ahead, plus h times the warp's weights;
2. the gates: a lane has all pre-activations of its four (row, unit) pairs, so nothing is exchanged within the block;
3. the new h, sent by every lane to every block of the cluster, its own included: `st.async` into the other buffer,
   whose barrier counts the bytes;
4. outputs and what the backward pass needs, stored while the others' parts of h arrive; the wait for all of them.

**Why two buffers and no further barrier are enough.** A block overwrites h of step s when it sends h of step s + 2. It
does so only after it has all of h of step s + 1, to which every warp of the cluster contributed after its products
with h of step s. The same holds for the two exchanges of the GRU whose second product waits for r
(`reset_after=False`): there the exchanges alternate between h and r h, each with a buffer of its own.

**Why the barrier is armed in time.** After the wait for exchange e, thread 0 announces the bytes of exchange e + 2 on
the same barrier. Nobody sends those before it has all of exchange e + 1, and with it what thread 0's warp sent after.

Arrays, of float32 unless said; the kernel gets those of the names that it is built for, in that order:

    inputs    [time, batch, runs, gates, hidden]    projected, with the bias
    weights   `packing.pack_weights`
    lengths   [batch]                               int32
    bias      [runs, hidden]                        b_hn, only of the GRU with reset_after
    state0,1  [runs, batch, hidden]                 h, and c of the LSTM
    outputs   [time, batch, runs, hidden]           of `output_bytes` an element; 0 past the lengths
    last0,1   [runs, batch, hidden]
    saved     [runs, time, tiles, cluster, warps, num_saved, lanes, words]    words, if asked for: what the backward
                                                                  kernel needs
    operands  [time, batch, runs, hidden]           r h, in the products' dtype, if asked for: the GRU of
                                                    reset_after=False needs it for the gradient of W_h
"""

# pyright: reportMissingImports=false
# The extra `hopper` has these packages; the environment of the checks has not.

from functools import lru_cache
from typing import Any

import cutlass
import cutlass.cute as cute
from cuda.bindings.driver import CUstream
from cutlass import Float32, Int32, Int64, Uint32

from benchmarks.candidates.hopper import ptx
from benchmarks.candidates.hopper.plan import ROWS, Plan, Sizes
from benchmarks.candidates.hopper.ptx import Value, Words, select
from benchmarks.candidates.hopper.thread import PLACES, Thread


class Forward(Thread):
    """One thread of the forward kernel."""

    def __init__(self, plan: Plan, sizes: Sizes, output_bytes: int, arrays: dict[str, Value]) -> None:
        super().__init__(plan, sizes, arrays["lengths"])
        self.output_bytes, self.arrays = output_bytes, arrays
        self.num_gates, self.num_exchanges = plan.cell.num_gates, len(plan.cell.products)
        self.load_weights(arrays["weights"])
        self.bias = self._load_bias()
        self.state = [self.load_state(arrays[f"state{k}"]) for k in range(self.cell.num_states)]
        self._load_operand()
        self.own_place = Uint32(self.group * plan.pitch + self.unit * plan.element_bytes)  # in an operand buffer
        all_rows = ROWS * plan.hidden * plan.element_bytes
        self.start_barriers(self.shared + Uint32(plan.barriers_at), all_rows, self.thread == 0)
        self.fetched = cute.make_rmem_tensor(4 * self.num_gates, Float32)
        self._fetch(Int32(0))

    def _load_bias(self) -> list[Value]:
        """Where a pre-activation is recurrent only, it starts from its own bias: b_hn of the GRU, for two units."""
        if "bias" not in self.arrays:
            return []
        at = self.arrays["bias"] + (Int64(self.run) * self.plan.hidden + Int64(self.unit)) * 4
        return ptx.load_global(at, 2, Float32)

    def _load_operand(self) -> None:
        """The initial h of all units into the first buffer: each thread takes fours of units."""
        plan = self.plan
        for k in range(ROWS * plan.hidden // 4 // plan.threads):
            four = self.thread + k * plan.threads
            row, unit = four // (plan.hidden // 4), four % (plan.hidden // 4) * 4
            index = Int64((self.run * self.sizes.batch + self.tile * ROWS + row) * plan.hidden + unit)
            h = ptx.load_global(self.arrays["state0"] + index * 4, 4, Float32)
            words = [*ptx.rounded(*h[:2], narrow=self.narrow), *ptx.rounded(*h[2:], narrow=self.narrow)]
            ptx.store_shared(self.shared + Uint32(row * plan.pitch + unit * plan.element_bytes), words)

    def _fetch(self, step: Value) -> None:
        """Loads the projected input of a step, `[time, batch, runs, gates, hidden]`, into registers."""
        rows = self.at_time(self.time_of(step))
        width = self.num_gates * self.plan.hidden
        for gate in range(self.num_gates):
            offset = self.unit + gate * self.plan.hidden
            for r, address in enumerate(self.address(self.arrays["inputs"], rows, width, 4, offset)):
                first = 4 * gate + 2 * r
                self.fetched[first], self.fetched[first + 1] = ptx.load_global(address, 2, Float32)

    def step(self, step: Value) -> None:
        """One step of the recurrence."""
        time = self.time_of(step)
        pre = [[self.fetched[4 * gate + k] for k in PLACES] for gate in range(self.num_gates)]
        pre += [[bias for bias in self.bias] * 2] * (self.plan.cell.num_slots - self.num_gates)
        self._fetch(cutlass.min(step + 1, self.num_steps - 1))
        for number, product in enumerate(self.plan.cell.products):
            exchange = step * self.num_exchanges + number
            operand = self.shared + Uint32((exchange & 1) * self.plan.operand_bytes)
            sums = self.multiply(number, operand, [pre[slot] for slot in product.slots])
            for slot, total in zip(product.slots, sums, strict=True):
                pre[slot] = total
            other = Uint32((exchange + 1) & 1)
            if number + 1 < self.num_exchanges:
                words = self._send(other, self._operand(pre))
                self._store("operands", time, words)
            else:
                saved = self._update(pre, time)
                h = self.state[0]
                words = self._send(other, [h[k] for k in PLACES])
                self._store_outputs(time, words)
                self._save(step, saved)
            self.wait(other, exchange)

    def _operand(self, pre: list[list[Value]]) -> list[Value]:
        """What the next product multiplies, of the lane's four."""
        operands = []
        for k in PLACES:
            numbers = [slot[k] for slot in pre]
            operands.append(self.cell.operand(self.functions, numbers, [part[k] for part in self.state]))
            pre[0] = [*pre[0][:k], numbers[0], *pre[0][k + 1 :]]
        return operands

    def _update(self, pre: list[list[Value]], time: Value) -> list[list[Value]]:
        """The new state of the rows that are still running; returns what is saved, `[number][cell]`."""
        live, saved = self.live(time), []
        for k in PLACES:
            new, kept = self.cell.forward(self.functions, [slot[k] for slot in pre], [part[k] for part in self.state])
            for part, number in zip(self.state, new, strict=True):
                part[k] = select(live[k // 2], number, part[k])
            saved.append(kept)
        return [list(numbers) for numbers in zip(*saved, strict=True)]

    def _send(self, buffer: Value, numbers: list[Value]) -> list[Words]:
        """The lane's four numbers, rounded, to every block of the cluster; returns the words of each row."""
        rows = [ptx.rounded(*numbers[2 * r : 2 * r + 2], narrow=self.narrow) for r in range(2)]
        for block in self.blocks:
            barrier = block + Uint32(self.plan.barriers_at) + buffer * 8
            for r, words in enumerate(rows):
                place = self.own_place + Uint32(8 * r * self.plan.pitch) + buffer * self.plan.operand_bytes
                ptx.send(block + place, words, barrier)
        return rows

    def _store(self, name: str, time: Value, rows: list[Words]) -> None:
        """Words of both rows to an array `[time, batch, runs, hidden]`, zeros past a row's length."""
        if name not in self.arrays:
            return
        num_bytes = 2 * len(rows[0])
        addresses = self.address(self.arrays[name], self.at_time(time), self.plan.hidden, num_bytes, self.unit)
        for address, words, live in zip(addresses, rows, self.live(time), strict=True):
            ptx.store_global(address, [select(live, word, Uint32(0)) for word in words])

    def _store_outputs(self, time: Value, words: list[Words]) -> None:
        """H as it was sent, or unrounded where the outputs are wider than the operands."""
        if self.output_bytes == 4:
            h = self.state[0]
            words = [[ptx.bits(h[2 * r]), ptx.bits(h[2 * r + 1])] for r in range(2)]
        self._store("outputs", time, words)

    def _save(self, step: Value, saved: list[list[Value]]) -> None:
        """For the backward pass: two (bfloat16) or four words of each number, side by side with the other lanes'."""
        if "saved" not in self.arrays:
            return
        for address, numbers in zip(self.saved_address(self.arrays["saved"], step), saved, strict=True):
            rows = [ptx.rounded(*numbers[2 * r : 2 * r + 2], narrow=self.narrow) for r in range(2)]
            ptx.store_global(address, [word for words in rows for word in words])

    def pad(self, time: Value) -> None:
        """Zeros at a time at which no row of the tile has a step."""
        self._store("operands", time, [[Uint32(0)] * (2 // self.plan.per_word)] * 2)
        self._store("outputs", time, [[Uint32(0)] * (self.output_bytes // 2)] * 2)

    def finish(self) -> None:
        """The last states; nobody leaves while others may still send to it."""
        for k, part in enumerate(self.state):
            self.store_state(self.arrays[f"last{k}"], part)
        self.meet_cluster()


@lru_cache
def forward_kernel(plan: Plan, sizes: Sizes, output_bytes: int, names: tuple[str, ...]) -> Any:
    """The kernel for arrays of these names, as a function that `cutlass_call` can launch."""

    @cute.kernel
    def kernel(arrays: tuple) -> Any:
        pointers = {n: a.iterator.toint() for n, a in zip(names, arrays, strict=True)}
        thread = Forward(plan, sizes, output_bytes, pointers)
        for step in cutlass.range(thread.num_steps, unroll=1):
            Forward.step(thread, step)
        for time in cutlass.range(thread.num_steps, sizes.time, unroll=1):
            Forward.pad(thread, time)
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
