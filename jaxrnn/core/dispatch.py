"""The public functions: checks, the choice of a backend, and the call. Time-major, arrays in and arrays out."""

from functools import partial
from typing import Literal, Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jaxrnn.core import checks
from jaxrnn.core.backend_table import BACKENDS, check_backend, resolve
from jaxrnn.core.call import Call
from jaxrnn.core.cells import Cell, elman_cell, gru_cell, lstm_cell, with_gathered_hidden
from jaxrnn.core.chunks import in_chunks
from jaxrnn.core.control import Fixed, Loop, Steps, reversed_resets, zero_padding
from jaxrnn.core.options import BackendName, Options
from jaxrnn.core.parameters import (
    ElmanParams,
    ElmanState,
    GRUParams,
    GRUState,
    LSTMParams,
    LSTMState,
    Params,
    State,
)
from jaxrnn.core.varying import varying_with
from jaxrnn.typing import AnyArray, Inputs, Lengths, Outputs


def lstm(x: Inputs, params: LSTMParams, **options: Unpack[Options]) -> tuple[Outputs | LSTMState, LSTMState]:
    """Unrolls an LSTM: i, f, o = σ(·), g = tanh(·), c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t).

    One bias for each gate (PyTorch has two, which add up); gate order i f g o. The weights decide the variant: with
    `w_p` the output is projected (LSTMP), with `peephole` the gates see the cell state, with `norm` both parts of the
    pre-activations and the cell state are layer-normalised.

    Args:
      x: inputs, `[time, batch, features]`. Products are taken in the dtype of the weights.
      params: weights with an explicit gate axis, see `LSTMParams`.
      **options: lengths, state, direction and so on, see `unroll`.

    Returns:
      Outputs `[time, batch, hidden]` in the dtype of x (with `all_states`, the state of every step), and the state
      after each row's last step (with `reverse`, its first), in float32 or wider.

    Raises:
      ValueError: shapes or dtypes disagree, lengths are out of range, or there is no such backend.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = LSTMParams(jnp.ones((3, 4, 2)), jnp.ones((2, 4, 2)), jnp.zeros((4, 2)))
      >>> y, state = lstm(jnp.ones((5, 1, 3)), params, lengths=jnp.array([2]))
      >>> bool((y[1, 0] == state.h[0]).all()), float(y[2:].sum())
      (True, 0.0)

    References:
      Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; the forget gate of Gers et al. 2000,
      doi:10.1162/089976600300015015; projection: Sak et al. 2014, arXiv:1402.1128; peepholes: Gers et al. 2002,
      www.jmlr.org/papers/v3/gers02a.html; layer normalisation: Ba et al. 2016, arXiv:1607.06450.
    """
    checks.check_type(params, LSTMParams)
    return unroll(lstm_cell(layer_norm=params.norm is not None), x, params, **options)


def gru(
    x: Inputs, params: GRUParams, *, reset_after: bool = True, **options: Unpack[Options]
) -> tuple[Outputs | GRUState, GRUState]:
    """Unrolls a GRU: r, z = σ(·), h_t = (1-z) ⊙ n + z ⊙ h_{t-1}, with n by one of two families.

    They are not the same function: `reset_after=True` (cuDNN, PyTorch) has n = tanh(W_xn x + b_n + r ⊙ (W_hn h +
    b_hn)), and needs its own bias b_hn; `reset_after=False` (the textbook form) has n = tanh(W_n [r ⊙ h, x] + b_n).
    Many texts blend the other way, h_t = (1-z) ⊙ h_{t-1} + z ⊙ n: the same family with z's weights and bias
    negated. Gate order r z n. With `params.norm`, both parts of the pre-activations are layer-normalised.

    Args:
      x: inputs, `[time, batch, features]`.
      params: weights with an explicit gate axis, see `GRUParams`; `b_hn` is None without `reset_after`.
      reset_after: which of the two families.
      **options: as in `lstm`.

    Returns:
      Outputs `[time, batch, hidden]` and the state after each row's last step, as in `lstm`.

    Raises:
      ValueError: as in `lstm`; or b_hn is missing, or given where it has no place.

    References:
      Cho et al. 2014, arXiv:1406.1078 (v1: reset after, v3: reset before).
    """
    checks.check_type(params, GRUParams)
    return unroll(gru_cell(reset_after, layer_norm=params.norm is not None), x, params, **options)


def elman(
    x: Inputs, params: ElmanParams, *, activation: Literal["tanh", "relu"] = "tanh", **options: Unpack[Options]
) -> tuple[Outputs | ElmanState, ElmanState]:
    """Unrolls an Elman network: h_t = φ(W_hh h_{t-1} + W_xh x_t + b), φ = tanh or ReLU.

    Args:
      x: inputs, `[time, batch, features]`.
      params: weights with a gate axis of length 1, see `ElmanParams`.
      activation: φ.
      **options: as in `lstm`.

    Returns:
      Outputs `[time, batch, hidden]` and the state after each row's last step, as in `lstm`.

    Raises:
      ValueError: as in `lstm`; or the activation is another.

    References:
      Elman 1990, doi:10.1207/s15516709cog1402_1.
    """
    cell = elman_cell(activation)
    checks.check_type(params, ElmanParams)
    return unroll(cell, x, params, **options)


def unroll(
    cell: Cell,
    x: Inputs,
    params: Params,
    *,
    lengths: Lengths | None = None,
    mask: Bool[AnyArray, "time batch"] | None = None,
    resets: Bool[AnyArray, "time batch"] | None = None,
    state: State | None = None,
    reset_state: State | None = None,
    reverse: bool = False,
    recurrent_dropout: Float[AnyArray, "batch width"] | None = None,
    zoneout: State | None = None,
    max_gradient: float | None = None,
    remat_chunk: int | None = None,
    all_states: bool = False,
    hidden_axis: str | None = None,
    backend: BackendName | None = None,
) -> tuple[Outputs | State, State]:
    """Unrolls any `Cell`; `lstm`, `gru` and `elman` are this function with the cell filled in.

    Args:
      cell: the equations, one of this library's or one's own.
      x: inputs, `[time, batch, features]`.
      params: a NamedTuple with w_x, w_h and b; all of it is given to the cell's pointwise function.
      lengths: valid steps of each row, integers `[batch]`, 0 ≤ n ≤ time. Outputs past the length are zero, the state
        stops there, and what the padding holds, even NaN, changes nothing.
      mask: valid steps, booleans `[time, batch]`, in place of lengths: gaps and padding on either side. An invalid
        step has output zero and leaves the state as it is.
      resets: booleans `[time, batch]`, true where a new sequence starts: the row's state returns to `reset_state`
        before that step, so that several sequences in one row give what each gives by itself. With `reverse` it
        returns after that step, on the way to the sequence before.
      state: the state to start from, each part `[batch, hidden]`; None means zeros.
      reset_state: the state that a reset leads to, each part `[batch, hidden]`; None means zeros.
      reverse: run from each row's last valid step to its first.
      recurrent_dropout: `[batch, hidden]`, multiplies h before the recurrent products, the same at every step: zeros,
        and 1/(1 - rate) elsewhere (Gal & Ghahramani 2016, arXiv:1512.05287). A constant to every derivative.
      zoneout: a state whose parts are booleans `[time, batch, hidden]`, true where the old value stays; or numbers,
        the share of the old value, which is the expectation to use at evaluation; or None (Krueger et al. 2017,
        arXiv:1606.01305). A constant to every derivative.
      max_gradient: the elements of the state's gradient are clipped to ± this at every step on the way back.
      remat_chunk: keep only every this many steps' state for the reverse pass, and run each such chunk again there:
        memory grows with time/k + k rather than with time, and the forward pass is done twice. Same numbers.
      all_states: return every step's whole state, `[time, batch, hidden]` each part, in place of the outputs, which
        are its h.
      hidden_axis: name of the mesh axis, inside `shard_map`, over which the hidden units are divided: each device has
        the columns of its own units, w_x `[features, gates, local]`, w_h `[hidden, gates, local]` and so on. Not with
        a projection or layer normalisation.
      backend: see `resolve_backend`.

    Returns:
      Outputs `[time, batch, hidden]` in the dtype of x (with `all_states`, the state of every step), and the state
      after each row's last step (with `reverse`, its first), in float32 or wider.

    Raises:
      ValueError: shapes or dtypes disagree, lengths are out of range, there is no such backend, or it cannot serve the
        call.
    """
    check_backend(backend)
    x = jnp.asarray(x)
    params = jax.tree.map(jnp.asarray, params)
    num_shards = None if hidden_axis is None else jax.lax.axis_size(hidden_axis)
    checks.check_params(cell, x, params, num_shards=num_shards)
    checks.check_positive("max_gradient", max_gradient)
    checks.check_count("remat_chunk", remat_chunk)
    time, batch = x.shape[:2]
    resets = checks.checked_booleans("resets", resets, time, batch)
    steps = Steps(
        mask=checks.checked_mask(lengths, mask, time, batch),
        resets=reversed_resets(resets) if reverse and resets is not None else resets,
        zoneout=checks.checked_zoneout(cell, zoneout, params, time, batch),
    )
    state, reset_state = (
        varying_with(checks.checked_state(name, cell, given, params, batch), (x, params, steps))
        for name, given in (("state", state), ("reset_state", reset_state))
    )
    fixed = Fixed(
        initial=None if resets is None else reset_state,
        dropout=checks.checked_dropout(recurrent_dropout, params, batch),
    )
    asked = {
        "mask": mask,
        "resets": resets,
        "recurrent_dropout": recurrent_dropout,
        "zoneout": zoneout,
        "max_gradient": max_gradient,
        "all_states": all_states,
        "hidden_axis": hidden_axis,
        "reverse": reverse,
        "lengths": lengths,
    }
    run = BACKENDS[resolve(Call.of(cell, x, params, asked), backend).name].run
    loop = Loop(with_gathered_hidden(cell, hidden_axis), reverse, max_gradient, all_states)
    if remat_chunk is not None and remat_chunk < time:
        run = partial(in_chunks, run, remat_chunk)
    outputs, last = run(loop, x, params, state, fixed, steps)
    outputs = jax.tree.map(lambda part: zero_padding(steps.mask, part), outputs)
    return outputs if all_states else outputs.astype(x.dtype), last
