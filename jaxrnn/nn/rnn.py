"""`RNN`: any cell of Flax's protocol over a sequence, with the core's semantics of lengths."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxrnn import core
from jaxrnn.nn.axes import to_time_major
from jaxrnn.nn.cells import RecurrentCell
from jaxrnn.typing import AnyArray


class RNN(nnx.Module):
    """Unrolls a cell: one of this library's (by the fast scan), one of Flax's, or one of the user's own.

    The protocol: `carry, y = cell(carry, x)` and `cell.initialize_carry(input_shape, rngs=rngs)`, the carry being any
    tree of arrays whose first axis is the batch.

    Args:
      cell: The cell.
      time_major: Whether inputs and outputs are `[time, batch, ...]` rather than `[batch, time, ...]`.
      reverse: Run from each row's last valid step to its first.
      backend: For this library's cells, see `jaxrnn.core.resolve_backend`.

    Raises:
      ValueError: The cell does not follow the protocol, or there is no such backend.
    """

    def __init__(
        self, cell: Any, *, time_major: bool = False, reverse: bool = False, backend: core.BackendName | None = None
    ):
        core.check_backend(backend)
        is_cell = callable(cell) and callable(getattr(cell, "initialize_carry", None))
        if not is_cell:
            got = repr(cell) if isinstance(cell, int) else type(cell).__name__
            raise ValueError(f"cell: expected a cell with initialize_carry, got {got}; torch.nn.RNN is nn.Elman here")
        self.cell: Any = cell
        self.backend: core.BackendName | None = backend
        self.time_major = time_major
        self.reverse = reverse

    def __call__(
        self,
        x: AnyArray,
        *,
        lengths: AnyArray | None = None,
        mask: AnyArray | None = None,
        resets: AnyArray | None = None,
        state: Any | None = None,
    ) -> tuple[Array, Any]:
        """Runs the cell over sequences.

        Args:
          x: Inputs, `[batch, time, ...]` (`[time, batch, ...]` if `time_major`); the cell says which axes follow, and
            this library's cells take `features`.
          lengths: Valid steps of each row, integers `[batch]`; None means all. See `jaxrnn.core.Options`.
          mask: Valid steps, booleans `[batch, time]` (or time-major), in place of lengths; it may have gaps.
          resets: Booleans `[batch, time]` (or time-major), true where a new sequence starts inside a row.
          state: The carry to start from; None means the cell's own initial carry.

        Returns:
          Outputs `[batch, time, ...]`, zero past the lengths, and the carry after each row's last step.

        Raises:
          ValueError: Shapes or dtypes disagree, or lengths are out of range.
        """
        x = jnp.asarray(x)
        if x.ndim < 3:
            axes = "[time, batch, features]" if self.time_major else "[batch, time, features]"
            raise ValueError(f"x: expected {axes}, got {list(x.shape)}")
        x, mask, resets = to_time_major(x, mask, resets, time_major=self.time_major)
        if isinstance(self.cell, RecurrentCell):
            cell = self.cell
            learnt = cell.learnt_state(x.shape[1])
            y, state = core.unroll(
                cell.core_cell,
                x,
                cell.params,
                lengths=lengths,
                mask=mask,
                resets=resets,
                state=learnt if state is None else state,
                reset_state=learnt,
                reverse=self.reverse,
                backend=self.backend,
            )
        else:
            mask = core.checked_mask(lengths, mask, *x.shape[:2])
            if resets is not None and self.reverse:
                resets = core.reversed_resets(resets)
            initial = self.cell.initialize_carry(x.shape[1:], rngs=nnx.Rngs(0))
            y, state = _scan(self.cell, x, initial if state is None else state, initial, mask, resets, self.reverse)
        return (y if self.time_major else y.swapaxes(0, 1)), state


def _scan(
    cell: Any, x: Array, carry: Any, initial: Any, mask: Array | None, resets: Array | None, reverse: bool
) -> tuple[Array, Any]:
    # Variables that the cell changes while it runs (counts of random streams, statistics) are carried along.
    cell_axes = nnx.StateAxes({...: nnx.Carry})
    axes = [None if steps is None else 0 for steps in (mask, resets)]

    @nnx.scan(in_axes=(cell_axes, nnx.Carry, 0, *axes), out_axes=(nnx.Carry, 0), reverse=reverse)
    def body(cell: Any, carry: Any, x_t: Array, mask_t: Array | None, reset_t: Array | None) -> tuple[Any, Array]:
        if reset_t is not None:
            carry = core.hold(reset_t, initial, carry)
        new, y = cell(carry, x_t)
        return core.hold(mask_t, new, carry), core.hold(mask_t, y, jnp.zeros_like(y))

    carry, y = body(cell, carry, core.zero_padding(mask, x), mask, resets)
    return y, carry
