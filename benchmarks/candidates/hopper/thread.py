"""What forward and backward kernel share: who a thread is, its weights, its products, its barriers.

Everything here runs while a kernel is traced: loops over rows, gates and k-steps are Python's and come out unrolled,
lists of numbers are registers. What changes from step to step of the kernel's own loop lives in `registers`.
"""

# pyright: reportMissingImports=false
# The extra `hopper` has these packages; the environment of the checks has not.

import cutlass
import cutlass.cute as cute
from cutlass import Float32, Int32, Int64, Uint32

from benchmarks.candidates.hopper import pointwise, ptx
from benchmarks.candidates.hopper.plan import K_BYTES, LANES, ROWS, UNITS, Plan, Sizes
from benchmarks.candidates.hopper.ptx import Value, Words, select

PLACES = range(4)  # a lane's (row, unit) pairs: two rows of two units, in the order of the tensor core's results


class Thread:
    """One thread of a kernel; grid `[cluster, tiles, runs]`."""

    def __init__(self, plan: Plan, sizes: Sizes, lengths: Value) -> None:
        self.plan, self.sizes = plan, sizes
        self.narrow = plan.element_bytes == 2
        self.cell = pointwise.of_cell(plan.cell)
        self.functions = ptx.Approximate if self.narrow else ptx.Exact
        self.thread, _, _ = cute.arch.thread_idx()
        _, self.tile, self.run = cute.arch.block_idx()
        self.rank = cute.arch.block_idx_in_cluster()
        self.lane, self.warp = self.thread % LANES, self.thread // LANES
        self.group, self.pair = self.lane // 4, self.lane % 4
        self.own_unit = self.warp * UNITS + self.pair * 2  # among the block's
        self.unit = self.rank * plan.units + self.own_unit  # among all; the lane has this one and the next
        self.rows = [self.tile * ROWS + self.group + 8 * r for r in range(2)]
        self.shared = self._allocate()
        self.blocks = [ptx.in_block(self.shared, rank) for rank in range(plan.cluster)]
        self._read_lengths(lengths)

    def _allocate(self) -> Value:
        words = self.plan.shared_bytes // 4
        memory = cutlass.memory.SmemAllocator().allocate_array(Uint32, words, byte_alignment=128)
        return Uint32(memory.toint())

    def _read_lengths(self, lengths: Value) -> None:
        """The tile runs to its longest row. A row beyond its own length is held, as under the mask elsewhere."""
        at = [self._load_int(lengths, self.tile * ROWS + k) for k in range(ROWS)]
        self.num_steps = at[0]
        for length in at[1:]:
            self.num_steps = cutlass.max(self.num_steps, length)
        self.lengths = [self._load_int(lengths, row) for row in self.rows]
        bits = sum(reverse << run for run, reverse in enumerate(self.sizes.reverse))
        self.reverse = (Int32(bits) >> self.run) & 1

    def _load_int(self, base: Value, index: Value) -> Value:
        return ptx.load_global(base + Int64(index) * 4, 1, Int32)[0]

    def time_of(self, step: Value) -> Value:
        """Where a step of the recurrence lies in the arrays; 0 where there is none, so that it may be fetched."""
        return cutlass.max(select(self.reverse == 1, self.num_steps - 1 - step, step), 0)

    def live(self, time: Value) -> list[Value]:
        """Of each of the lane's two rows: is the step within its length?"""
        return [time < length for length in self.lengths]

    # Arrays. Rows are counted in 32 bits, addresses in 64.

    def address(self, base: Value, leading: list[Value], width: int, num_bytes: int, offset: Value) -> list[Value]:
        """Of both rows: `base[leading[r], offset]` of an array `[..., width]`, `num_bytes` an element."""
        return [base + (Int64(index) * width + Int64(offset)) * num_bytes for index in leading]

    def at_time(self, time: Value) -> list[Value]:
        """Both rows as leading indices into `[time, batch, runs, ...]`."""
        return [(time * self.sizes.batch + row) * self.sizes.runs + self.run for row in self.rows]

    def state_address(self, base: Value) -> list[Value]:
        """Of both rows: the lane's units in a state `[runs, batch, hidden]` of float32."""
        rows = [self.run * self.sizes.batch + row for row in self.rows]
        return self.address(base, rows, self.plan.hidden, 4, self.unit)

    def load_state(self, base: Value) -> Value:
        """A state `[runs, batch, hidden]`: the lane's four numbers, in registers of the loop."""
        state = cute.make_rmem_tensor(4, Float32)
        for r, address in enumerate(self.state_address(base)):
            state[2 * r], state[2 * r + 1] = ptx.load_global(address, 2, Float32)
        return state

    def store_state(self, base: Value, state: Value) -> None:
        """The lane's four numbers to a state `[runs, batch, hidden]`."""
        for r, address in enumerate(self.state_address(base)):
            ptx.store_global(address, [ptx.bits(state[2 * r]), ptx.bits(state[2 * r + 1])])

    def saved_address(self, base: Value, step: Value) -> list[Value]:
        """Of each saved number: the lane's place in `[runs, time, tiles, cluster, warps, num_saved, lanes, words]`."""
        plan, sizes = self.plan, self.sizes
        block = ((self.run * sizes.time + step) * sizes.tiles + self.tile) * plan.cluster + self.rank
        first = (block * plan.warps + self.warp) * self.cell.num_saved
        num_bytes = 16 // plan.per_word
        return [base + (Int64(first + k) * LANES + Int64(self.lane)) * num_bytes for k in range(self.cell.num_saved)]

    # Weights and products.

    def load_weights(self, packed: Value) -> None:
        """The lane's words: to registers, and the rest to shared memory, where only the lane itself reads them."""
        plan = self.plan
        warp = (self.run * plan.cluster + self.rank) * plan.warps + self.warp
        fours = [
            packed + (Int64(warp) * (plan.words * LANES) + Int64(self.lane * 4 + k * 4 * LANES)) * 4
            for k in range(plan.words // 4)
        ]
        in_registers = plan.resident // 4
        self.weights = [word for address in fours[:in_registers] for word in ptx.load_global(address, 4)]
        self.more_weights = self.shared + Uint32(plan.weights_at) + Uint32(self.thread * 16)
        for k, address in enumerate(fours[in_registers:]):
            ptx.store_shared(self.more_weights + Uint32(k * plan.threads * 16), ptx.load_global(address, 4))

    def multiply(self, product: int, operand: Value, sums: list[list[Value]], first: int = 0) -> list[list[Value]]:
        """Adds the 16 rows at `operand` times the warp's columns from `first` on; `sums` has four numbers for each."""
        plan, sums = self.plan, list(sums)
        start = sum(2 * k * w for k, w in zip(plan.k_steps[:product], plan.widths[:product], strict=True))
        fetched: dict[int, Words] = {}
        for k in range(plan.k_steps[product]):
            a = ptx.load_matrix(operand + self.matrix_row + Uint32(k * K_BYTES))
            for column, numbers in enumerate(sums):
                b = self._weights(start + 2 * (k * plan.widths[product] + first + column), fetched)
                sums[column] = ptx.multiply(numbers, a, b, narrow=self.narrow)
        return sums

    def _weights(self, word: int, fetched: dict[int, Words]) -> Words:
        """Two words of the lane's weights; `fetched` keeps the other two of a load from shared memory."""
        if word < self.plan.resident:
            return self.weights[word : word + 2]
        four, at = divmod(word - self.plan.resident, 4)
        if four not in fetched:
            fetched[four] = ptx.load_shared(self.more_weights + Uint32(four * self.plan.threads * 16))
        return fetched[four][at : at + 2]

    @property
    def matrix_row(self) -> Value:
        """Where the lane points when its warp loads 16 rows of an operand."""
        return Uint32((self.lane % ROWS) * self.plan.pitch + (self.lane // ROWS) * 16)

    def start_barriers(self, base: Value, num_bytes: int, when: Value) -> None:
        """Two barriers at `base`, set up and armed by the lane for which `when` holds; then the cluster goes on."""
        self.barriers, self.announced, self.arms = base, num_bytes, select(when, Uint32(1), Uint32(0))
        for barrier in (base, base + 8):
            ptx.start_barrier(barrier, self.arms)
            ptx.expect(barrier, num_bytes, self.arms)
        cute.arch.mbarrier_init_fence()
        self.meet_cluster()

    def meet_cluster(self) -> None:
        """All threads of the cluster. Only at start and end: it waits for all stores to memory."""
        cute.arch.cluster_arrive()
        cute.arch.cluster_wait()

    def wait(self, buffer: Value, exchange: Value) -> None:
        """Until all of this exchange has landed in its buffer; arms the barrier for the next but one."""
        barrier = self.barriers + buffer * 8
        ptx.wait(barrier, Uint32((exchange >> 1) & 1))
        ptx.expect(barrier, self.announced, self.arms)
