"""How a recurrence is divided over the chip: sizes, as plain numbers. No GPU code is imported here.

A *tile* is 16 rows of the batch. A tile of one direction belongs to one *cluster* of thread blocks, which share nothing
with other clusters: tiles run side by side, or one after the other where the chip is full.

    block `rank` of a cluster    H / cluster hidden units, all gates of them
    warp w of a block            8 of those units: the width of a tensor core's product
    a lane of a warp             the units u, u+1 of the rows g, g+8, with u = 2 (lane mod 4), g = lane div 4

Every warp keeps its part of W_h for the whole sequence: the first `resident` words of each lane in registers, what
registers cannot hold in shared memory, in the same order. One *word* is 4 bytes: two bfloat16 or one float32.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.core.cells import GRU_RESET_AFTER, GRU_RESET_BEFORE, LSTM, Cell

ROWS, UNITS, LANES = 16, 8, 32
K_BYTES = 32  # of each row of the left operand that one matrix instruction takes: 16 bfloat16, or 8 float32
SKEW = 16  # bytes between the rows of an operand in shared memory: eight rows then touch all 32 banks once
SHARED_BYTES = 227 * 1024  # that a thread block can have on Hopper
PORTABLE = 8  # blocks in a cluster that every such GPU can have; 16 have to be asked for, as CUTLASS does
WARP_PART = LANES * 16  # bytes of one warp's part of a gradient: 4 float32 a lane

CELLS = {cell.name: cell for cell in (LSTM, GRU_RESET_AFTER, GRU_RESET_BEFORE)}


class Sizes(NamedTuple):
    """Of the arrays of one call. A *run* is a recurrence of its own: one direction, with its own weights and state."""

    time: int
    batch: int  # a multiple of ROWS
    reverse: tuple[bool, ...]  # of each run: does it go from the last step to the first?

    @property
    def runs(self) -> int:
        """Recurrences that are run side by side."""
        return len(self.reverse)

    @property
    def tiles(self) -> int:
        """Tiles of rows in a batch."""
        return self.batch // ROWS


class Plan(NamedTuple):
    """The division of one cell and size; all else follows from these four."""

    cell_name: str
    hidden: int
    element_bytes: int  # of the products' operands: 2 for bfloat16, 4 for float32 (multiplied as TF32)
    backward: bool = False

    @property
    def cell(self) -> Cell:
        """The cell, one of the three."""
        return CELLS[self.cell_name]

    @property
    def per_word(self) -> int:
        """Operands in a word."""
        return 4 // self.element_bytes

    @property
    def cluster(self) -> int:
        """Thread blocks in a cluster: as many as have 4 warps each, up to 8; 16 where 8 have no room for W_h."""
        whole = self.cell.num_gates * self.hidden**2 * self.element_bytes
        if whole > PORTABLE * 224 * 1024 and self.hidden % (2 * PORTABLE * UNITS) == 0:
            return 2 * PORTABLE
        sizes = PORTABLE, 4, 2
        return next(size for size in sizes if self.hidden % (size * UNITS) == 0 and self.hidden >= size * 4 * UNITS)

    @property
    def units(self) -> int:
        """Hidden units of a block."""
        return self.hidden // self.cluster

    @property
    def warps(self) -> int:
        """Warps of a block."""
        return self.units // UNITS

    @property
    def gates(self) -> tuple[tuple[int, ...], ...]:
        """Of each product: the gates that it multiplies."""
        return tuple(tuple(range(self.cell.num_gates))[product.gates] for product in self.cell.products)

    @property
    def columns(self) -> int:
        """Of a row of the left operand: forward all hidden units, backward all gates of the block's own units."""
        return self.units * self.cell.num_gates if self.backward else self.hidden

    @property
    def pitch(self) -> int:
        """Bytes from one row of the left operand to the next."""
        return -(-self.columns * self.element_bytes // K_BYTES) * K_BYTES + SKEW

    @property
    def k_steps(self) -> tuple[int, ...]:
        """Of each product: matrix instructions along its inner dimension."""
        inner = [len(gates) * self.units if self.backward else self.hidden for gates in self.gates]
        return tuple(-(-size * self.element_bytes // K_BYTES) for size in inner)

    @property
    def widths(self) -> tuple[int, ...]:
        """Of each product: columns of a warp's result, in eights. Forward its gates, backward the receiving blocks."""
        return tuple(self.cluster if self.backward else len(gates) for gates in self.gates)

    @property
    def words(self) -> int:
        """Words of W_h in each lane."""
        return sum(2 * k * width for k, width in zip(self.k_steps, self.widths, strict=True))

    @property
    def resident(self) -> int:
        """Words of W_h that a lane keeps in registers: as many as leave room for all else, found by compiling."""
        most = 128
        if self.backward:
            most = 96 if self.per_word == 2 else 84 if self.cluster > PORTABLE else 80
        return min(self.words, most)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.warps * LANES

    @property
    def operand_bytes(self) -> int:
        """One buffer of the left operand; there are two."""
        return ROWS * self.pitch

    @property
    def received_bytes(self) -> int:
        """One buffer of what the other blocks send apart from operands; there are two."""
        return self.cluster * self.warps * WARP_PART if self.backward else 0

    @property
    def weights_at(self) -> int:
        """Offset in shared memory of the weights that registers do not hold."""
        return 2 * (self.operand_bytes + self.received_bytes)

    @property
    def barriers_at(self) -> int:
        """Offset in shared memory of the barriers: two, of 8 bytes, for the block or for each of its warps."""
        return self.weights_at + (self.words - self.resident) * 4 * self.threads

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block."""
        return self.barriers_at + 16 * (self.warps if self.backward else 1)

    @property
    def fits(self) -> bool:
        """Is there so much shared memory?"""
        return self.shared_bytes <= SHARED_BYTES


def operand_dtype(plan: Plan) -> jnp.dtype:
    """The dtype of the products' operands."""
    return jnp.dtype(jnp.bfloat16 if plan.element_bytes == 2 else jnp.float32)


def fits(cell_name: str, hidden: int, element_bytes: int) -> bool:
    """Do both passes have room on the chip? `hidden` is a multiple of 64."""
    return all(Plan(cell_name, hidden, element_bytes, backward).fits for backward in (False, True))
