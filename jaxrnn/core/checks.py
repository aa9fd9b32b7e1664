"""The checks of a call's arguments: each message names the argument, what was expected and what came."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrnn.core.cells import Cell
from jaxrnn.core.control import length_mask
from jaxrnn.core.linear import accumulator
from jaxrnn.core.parameters import GRUParams, LSTMParams, Params, State
from jaxrnn.core.step import output_projection, output_width
from jaxrnn.core.versions import Tracer
from jaxrnn.typing import AnyArray, Lengths


def check_type(params: Params, expected: type) -> None:
    """The weights are those of this cell."""
    if not isinstance(params, expected):
        raise ValueError(f"params: expected {expected.__name__}, got {type(params).__name__}")


def check_layers(params: Any, arranged: Mapping[str, Any]) -> None:
    """Weights by layer and direction, with as many directions in all layers, and arguments arranged as they are."""
    directions = [len(layer) for layer in params]
    if not directions or len(set(directions)) != 1 or directions[0] not in (1, 2):
        raise ValueError(f"params: expected layers of one direction each, or of two each, got {directions}")
    for name, tree in arranged.items():
        if tree is not None and [len(layer) for layer in tree] != directions:
            got = [len(layer) for layer in tree]
            raise ValueError(f"{name}: expected one for each of the weights, {directions}, got {got}")


def check_params(cell: Cell, x: Array | jax.ShapeDtypeStruct, params: Params) -> None:
    """Inputs and weights are floats and fit each other."""
    if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x: expected floats [time, batch, features], got {x.dtype} {list(x.shape)}")
    gates, features, hidden = cell.num_gates, x.shape[2], params.w_x.shape[-1]
    w_p = output_projection(params)
    rows = hidden if w_p is None else w_p.shape[-1]
    if w_p is not None:
        _check_shape("params.w_p", w_p, (hidden, rows), cell)
    _check_shape("params.w_x", params.w_x, (features, gates, hidden), cell)
    _check_shape("params.w_h", params.w_h, (rows, gates, hidden), cell)
    _check_shape("params.b", params.b, (gates, hidden), cell)
    if isinstance(params, LSTMParams) and params.peephole is not None:
        _check_shape("params.peephole", params.peephole, (3, hidden), cell)
    if isinstance(params, GRUParams):
        _check_recurrent_bias(params, is_needed=cell.has_recurrent_bias)
    norm = getattr(params, "norm", None)
    for name, gain in {}.items() if norm is None else norm._asdict().items():
        _check_shape(f"params.norm.{name}", gain, (gates, hidden) if name in ("x", "h") else (hidden,), cell)


def _check_recurrent_bias(params: GRUParams, *, is_needed: bool) -> None:
    expected = params.b.shape[1:]
    if is_needed and (params.b_hn is None or params.b_hn.shape != expected):
        got = None if params.b_hn is None else list(params.b_hn.shape)
        raise ValueError(f"params.b_hn: expected shape {list(expected)} for reset_after=True, got {got}")
    if not is_needed and params.b_hn is not None:
        raise ValueError("params.b_hn: expected None for reset_after=False, which has no such bias, got an array")


def _check_shape(name: str, array: AnyArray, shape: tuple[int, ...], cell: Cell) -> None:
    if array.shape != shape or not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"{name}: expected floats {list(shape)} for {cell.name}, got {array.dtype} {list(array.shape)}"
        )


def checked_lengths(lengths: Lengths | None, time: int, batch: int) -> AnyArray | None:
    """The lengths as an array, or None; ValueError unless they are integers `[batch]` from 0 to `time`."""
    if lengths is None:
        return None
    lengths = lengths if isinstance(lengths, Array) else np.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer) or lengths.shape != (batch,):
        raise ValueError(f"lengths: expected integers [{batch}], got {lengths.dtype} {list(lengths.shape)}")
    if not isinstance(lengths, Tracer):  # inside jit the values are not known, and are the caller's promise
        values = np.asarray(lengths)
        if batch and not (values.min() >= 0 and values.max() <= time):
            raise ValueError(
                f"lengths: expected 0 to {time}, the number of steps, got {values.min()} to {values.max()}"
            )
    return lengths


def checked_mask(lengths: Lengths | None, mask: AnyArray | None, time: int, batch: int) -> Array | None:
    """The valid steps, `[time, batch]`, from lengths or from a mask, of which only one may be given."""
    if lengths is not None and mask is not None:
        raise ValueError("mask: expected None beside lengths, got both")
    if mask is not None:
        return checked_booleans("mask", mask, time, batch)
    return length_mask(checked_lengths(lengths, time, batch), time)


def checked_booleans(name: str, array: AnyArray | None, time: int, batch: int) -> Array | None:
    """An array of booleans `[time, batch]`, or None."""
    if array is None:
        return None
    array = jnp.asarray(array)
    if array.dtype != bool or array.shape != (time, batch):
        raise ValueError(f"{name}: expected booleans [{time}, {batch}], got {array.dtype} {list(array.shape)}")
    return array


def checked_state(name: str, cell: Cell, state: State | None, params: Params, batch: int) -> State:
    """The state in the dtype it is kept in; zeros for None."""
    dtype = accumulator(params.w_h.dtype)
    shapes = state_shapes(cell, params, batch)
    if state is None:
        return jax.tree.map(lambda shape: jnp.zeros(shape, dtype), shapes, is_leaf=_is_shape)
    _check_state_type(name, cell, state)
    for field, part, shape in zip(cell.state_type._fields, state, shapes, strict=True):
        if np.shape(part) != shape:
            raise ValueError(f"{name}.{field}: expected shape {list(shape)}, got {list(np.shape(part))}")
    return jax.tree.map(lambda part: jnp.asarray(part, dtype), state)


def checked_zoneout(cell: Cell, zoneout: State | None, params: Params, time: int, batch: int) -> State | None:
    """Zoneout with a row for each step: booleans as they are, a share repeated."""
    if zoneout is None:
        return None
    _check_state_type("zoneout", cell, zoneout)
    parts = []
    for name, part, shape in zip(cell.state_type._fields, zoneout, state_shapes(cell, params, batch), strict=True):
        if part is None:
            parts.append(None)
        elif np.ndim(part) == 0 and not jnp.issubdtype(jnp.result_type(part), jnp.bool_):
            if isinstance(part, int | float) and not 0 <= part <= 1:
                raise ValueError(f"zoneout.{name}: expected a share from 0 to 1, got {part}")
            parts.append(jnp.full(time, part, accumulator(params.w_h.dtype)))
        elif np.shape(part) == (time, *shape) and jnp.issubdtype(jnp.result_type(part), jnp.bool_):
            parts.append(jnp.asarray(part))
        else:
            got = f"{jnp.result_type(part)} {list(np.shape(part))}"
            raise ValueError(f"zoneout.{name}: expected a number or booleans {[time, *shape]}, got {got}")
    return jax.lax.stop_gradient(cell.state_type(*parts))


def checked_dropout(dropout: AnyArray | None, params: Params, batch: int) -> Array | None:
    """The factors of h before the recurrent products, `[batch, hidden]`."""
    if dropout is None:
        return None
    dropout = jnp.asarray(dropout)
    shape = (batch, params.w_h.shape[0])
    if dropout.shape != shape or not jnp.issubdtype(dropout.dtype, jnp.floating):
        got = f"{dropout.dtype} {list(dropout.shape)}"
        raise ValueError(f"recurrent_dropout: expected floats {list(shape)}, got {got}")
    return jax.lax.stop_gradient(dropout)


def check_positive(name: str, value: float | int | None) -> None:
    """A number above zero, or None."""
    if value is not None and not value > 0:
        raise ValueError(f"{name}: expected None or a number above 0, got {value}")


def check_count(name: str, value: int | None) -> None:
    """A whole number above zero, or None."""
    if value is not None and not (isinstance(value, int) and value > 0):
        raise ValueError(f"{name}: expected None or a whole number above 0, got {value}")


def state_shapes(cell: Cell, params: Params, batch: int) -> State:
    """The shape of each part of the state; h, which comes first, may be projected."""
    widths = [output_width(params)] + [params.w_h.shape[-1]] * (len(cell.state_type._fields) - 1)
    return cell.state_type(*((batch, width) for width in widths))


def _check_state_type(name: str, cell: Cell, state: Any) -> None:
    if not isinstance(state, cell.state_type):
        raise ValueError(f"{name}: expected {cell.state_type.__name__}, got {type(state).__name__}")


def _is_shape(node: Any) -> bool:
    return type(node) is tuple
