"""The states of many cells as one, layer-major, then direction, as in PyTorch; a tuple where widths differ."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.nn.cells import RecurrentCell


def stacks(cells: Sequence[RecurrentCell]) -> bool:
    """Whether all states have one width, and so can be one array."""
    return len({cell.hidden_features for cell in cells}) == 1


def stack(cells: Sequence[RecurrentCell], states: Sequence[Any]) -> Any:
    """One state with the cells as first axis, or a tuple where widths differ."""
    return jax.tree.map(lambda *parts: jnp.stack(parts), *states) if stacks(cells) else tuple(states)


def unstack(cells: Sequence[RecurrentCell], state: Any | None, batch: int) -> list[Any]:
    """The state of each cell; None stands for zeros. ValueError unless it is what `stack` returns."""
    if state is None:
        return [cell.learnt_state(batch) for cell in cells]
    state_type = cells[0].core_cell.state_type
    if stacks(cells):
        if not isinstance(state, state_type):
            raise ValueError(f"state: expected {state_type.__name__}, got {type(state).__name__}")
        for name, part, width in zip(state_type._fields, state, cells[0].state_widths, strict=True):
            expected = (len(cells), batch, width)
            if np.shape(part) != expected:
                raise ValueError(f"state.{name}: expected shape {list(expected)}, got {list(np.shape(part))}")
        return [jax.tree.map(lambda part, k=k: part[k], state) for k in range(len(cells))]
    if not isinstance(state, tuple) or len(state) != len(cells):
        raise ValueError(f"state: expected a tuple of {len(cells)} {state_type.__name__}, as returned")
    for k, (cell, part) in enumerate(zip(cells, state, strict=True)):
        cell.check_state(f"state[{k}]", part, (batch,))
    return list(state)
