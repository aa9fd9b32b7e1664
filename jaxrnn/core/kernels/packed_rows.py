"""Rows of different lengths packed into one array, which holds for each step only the rows that have it.

Rows are sorted, longest first, so the rows that have a step are always the first ones. XLA's shapes are fixed, so the
number of rows of a step is rounded up to one of a few sizes. As this number only falls, the steps of one size are
neighbours. They form a segment: a loop of a known number of rows over a number of steps that the program does not know.
A row at a step is called an entry, and packed arrays are `[entries, ...]`. Beyond the last entry they are zero, and
nothing is computed there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.core.control import hold

NUM_SIZES = 8  # numbers of rows that there is a program for: with 4, a tenth slower and half as long to compile
ROWS = 8  # that a product handles together: numbers of rows are multiples
TILE = 1024  # entries that a product outside the loops takes at a time


class Part(NamedTuple):
    """Neighbouring entries."""

    entry: Array
    size: int

    def take(self, packed: Any) -> Any:
        """This part of packed arrays."""
        return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, self.entry, self.size), packed)

    def put(self, packed: Any, new: Any) -> Any:
        """Packed arrays with this part replaced."""
        return jax.tree.map(
            lambda a, part: jax.lax.dynamic_update_slice_in_dim(a, part.astype(a.dtype), self.entry, 0), packed, new
        )


class _Segment(NamedTuple):
    """Neighbouring steps with the same number of rows."""

    rows: int
    step: Array  # the first
    num_steps: Array
    entry: Array  # the first


class PackedRows:
    """Where rows of these lengths, integers `[batch]`, of at most `time` steps, are in packed arrays."""

    def __init__(self, lengths: Array, time: int):
        self.time, self.batch = time, lengths.shape[0]
        lengths = lengths.astype(jnp.int32)  # unsigned ones have no negative
        self.tile = min(TILE, time * self.batch)
        self.capacity = self.tile * -(-time * self.batch // self.tile)
        self.order = jnp.argsort(-lengths)
        self.lengths = lengths[self.order]
        num_alive = (self.lengths > jnp.arange(time)[:, None]).sum(1)
        multiple = ROWS * -(-self.batch // (ROWS * NUM_SIZES))
        self.num_rows = jnp.minimum(-(-num_alive // multiple) * multiple, self.batch)  # of each step
        self.first_entry = jnp.cumsum(self.num_rows) - self.num_rows
        self.num_entries = self.num_rows.sum()
        self.segments = [self._segment(rows) for rows in [self.batch, *reversed(range(multiple, self.batch, multiple))]]

    def _segment(self, rows: int) -> _Segment:
        before = self.num_rows > rows
        return _Segment(rows, before.sum(), (self.num_rows == rows).sum(), (before * self.num_rows).sum())

    def pack(self, x: Array) -> Array:
        """`[time, batch, ...]` as `[entries, ...]`; what is no valid step becomes zero."""
        entry = jnp.arange(self.capacity)
        step = jnp.repeat(jnp.arange(self.time), self.num_rows, total_repeat_length=self.capacity)
        row = jnp.minimum(entry - self.first_entry[step], self.batch - 1)
        valid = (entry < self.num_entries) & (step < self.lengths[row])
        found = x.reshape(-1, *x.shape[2:])[step * self.batch + self.order[row]]
        return hold(valid, found, jnp.zeros_like(found))

    def unpack(self, packed: Array) -> Array:
        """The way back, with zeros where there is no valid step."""
        row = jnp.argsort(self.order)
        valid = jnp.arange(self.time)[:, None] < self.lengths[row]
        found = packed[jnp.where(valid, self.first_entry[:, None] + row, 0)]
        return hold(valid, found, jnp.zeros_like(found))

    def sort(self, states: Any) -> Any:
        """Arrays `[batch, ...]` with the longest row first."""
        return jax.tree.map(lambda a: a[self.order], states)

    def unsort(self, states: Any) -> Any:
        """The way back from `sort`."""
        return jax.tree.map(lambda a: a[jnp.argsort(self.order)], states)

    def zeros(self, parts: Any) -> Any:
        """Packed arrays for parts of the shapes `[rows, ...]` and dtypes of these."""
        return jax.tree.map(lambda a: jnp.zeros((self.capacity, *a.shape[1:]), a.dtype), parts)

    def over_steps(
        self, body: Callable[[Part, Array, Any, Any], tuple[Any, Any]], state: Any, carry: Any, *, backwards: bool
    ) -> tuple[Any, Any]:
        """Runs `body(part, alive, state, carry) -> (state, carry)` over all steps, or backwards.

        Alive are those of the step's rows that have it, `[rows]`. The state's arrays are `[batch, ...]`, sorted; the
        body is given, and gives back, those of the step's rows.
        """
        for segment in reversed(self.segments) if backwards else self.segments:

            def turn(k: Array, both: tuple[Any, Any], segment: _Segment = segment) -> tuple[Any, Any]:
                k = segment.num_steps - 1 - k if backwards else k
                part = Part(segment.entry + k * segment.rows, segment.rows)
                return body(part, segment.step + k < self.lengths[: segment.rows], *both)

            first = jax.tree.map(lambda a, rows=segment.rows: a[:rows], state)
            first, carry = jax.lax.fori_loop(0, segment.num_steps, turn, (first, carry))
            state = jax.tree.map(lambda a, whole: jnp.concatenate([a, whole[a.shape[0] :]]), first, state)
        return state, carry

    def over_tiles(self, body: Callable[[Part, Any], Any], carry: Any) -> Any:
        """Runs `body(part, carry) -> carry` over all entries, in parts of the same size."""
        return jax.lax.fori_loop(
            0, -(-self.num_entries // self.tile), lambda k, carry: body(Part(k * self.tile, self.tile), carry), carry
        )
