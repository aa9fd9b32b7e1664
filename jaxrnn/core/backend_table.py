"""The backends as a table: what each is for, what it can serve, and the choice among them, explained in words."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

from jax import Array

from jaxrnn.core import cudnn, pallas_tpu, trimmed_scan
from jaxrnn.core.call import Call
from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Fixed, Loop, Steps
from jaxrnn.core.fused_scan import fused_scan
from jaxrnn.core.hopper import backend as hopper
from jaxrnn.core.options import BackendName, Options
from jaxrnn.core.parameters import Layers, Params, State
from jaxrnn.core.reference import reference_scan


def _anywhere() -> None:
    return None


def _anything(call: Call) -> None:
    return None


def _unmeasured(call: Call) -> str:
    return "was not measured yet"


class Backend(NamedTuple):
    """A way to unroll a cell, what it is for, and what it cannot serve.

    Attributes:
      run: one direction of one layer.
      description: what it is for.
      why_not_here: why this machine cannot run it; None: it can.
      why_not: why it cannot serve a call; None: it can.
      run_layers: both directions, or several layers, together: `(cell, x, params, states, lengths) -> (y, states)`;
        None: each by itself.
      why_not_chosen: why it is not chosen for a call that it can serve, only asked for; None: it was found faster than
        those below it.
    """

    run: Callable[[Loop, Array, Params, State, Fixed, Steps], tuple[Array | State, State]]
    description: str
    why_not_here: Callable[[], str | None] = _anywhere
    why_not: Callable[[Call], str | None] = _anything
    run_layers: Callable[[Cell, Array, Layers, Layers, Array | None], tuple[Array, Layers]] | None = None
    why_not_chosen: Callable[[Call], str | None] = _anything


# In the order of preference of `backend=None`. The scans serve every call on every platform, so one is always left.
BACKENDS: dict[str, Backend] = {
    "hopper": Backend(
        hopper.run,
        "recurrent weights stay on the chip of a Hopper GPU, both directions of a layer in one launch",
        hopper.why_not_here,
        hopper.why_not,
        hopper.run_layers,
        why_not_chosen=_unmeasured,
    ),
    "cudnn": Backend(
        cudnn.run,
        "NVIDIA's LSTM, float32 with TF32 products, all layers and both directions in one call",
        cudnn.why_not_here,
        cudnn.why_not,
        cudnn.run_layers,
        why_not_chosen=_unmeasured,
    ),
    "pallas_tpu": Backend(
        pallas_tpu.run,
        "recurrent weights stay in a TPU's VMEM, both directions of a layer in one program",
        pallas_tpu.why_not_here,
        pallas_tpu.why_not,
        pallas_tpu.run_layers,
        why_not_chosen=_unmeasured,
    ),
    "trimmed_scan": Backend(
        trimmed_scan.run,
        "the fused scan without the rows that have ended, where lengths are given, on a CPU",
        trimmed_scan.why_not_here,
        trimmed_scan.why_not,
        trimmed_scan.run_layers,
        trimmed_scan.why_not_chosen,
    ),
    "fused_scan": Backend(
        fused_scan, "projections and weight gradients outside the loop; every option, every transformation"
    ),
    "reference": Backend(reference_scan, "plain lax.scan with autodiff; every option, every transformation"),
}


class Resolution(NamedTuple):
    """The backend that serves a call, why, and why each other one does not.

    `print` shows all of it, a line for each backend.
    """

    name: str
    reason: str
    others: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(f"{name}: {why}" for name, why in {self.name: self.reason, **self.others}.items())


def backends() -> dict[str, str | None]:
    """All backends by name, in the order of preference: why this machine cannot run one, None for those that it can.

    Example:
      >>> backends()["fused_scan"] is None
      True
    """
    return {name: backend.why_not_here() for name, backend in BACKENDS.items()}


def check_backend(backend: BackendName | None) -> None:
    """ValueError unless there is a backend of that name, or the name is None."""
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend: expected None or one of {', '.join(sorted(BACKENDS))}, got {backend!r}")


def resolve_backend(cell: Cell, x: Any, params: Params | Layers, **options: Unpack[Options]) -> Resolution:
    """Which backend serves a call of `unroll` or `unroll_layers` with these arguments, and why; nothing is run.

    Args:
      cell: the equations.
      x: inputs `[time, batch, features]`, or a `jax.ShapeDtypeStruct` of them. An array that exists says by where it is
        where the call will run; anything else runs on JAX's default device.
      params: weights, or for `unroll_layers` those of each direction of each layer.
      **options: the call's other arguments. Of them, `backend`: a name is taken if that backend can serve the call;
        None chooses the first that can, among those that were measured to be the fastest where they can serve.

    Raises:
      ValueError: there is no backend of that name, or it cannot serve the call; the message says why.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn import core
      >>> params = core.ElmanParams(jnp.ones((3, 1, 2)), jnp.ones((2, 1, 2)), jnp.zeros((1, 2)))
      >>> found = resolve_backend(core.elman_cell("tanh"), jax.ShapeDtypeStruct((5, 1, 3), "float32"), params)
      >>> found.name
      'fused_scan'
    """
    return resolve(Call.of(cell, x, params, options), options.get("backend"))


def resolve(call: Call, backend: BackendName | None) -> Resolution:
    """`resolve_backend` of a call."""
    check_backend(backend)
    reasons = {name: each.why_not(call) for name, each in BACKENDS.items()}
    able = [name for name, reason in reasons.items() if reason is None]
    if backend is not None and reasons[backend] is not None:
        raise ValueError(
            f"backend: expected None or one of {', '.join(sorted(able))} for this call, got {backend!r}, which "
            f"{reasons[backend]}"
        )
    name = next(n for n in able if BACKENDS[n].why_not_chosen(call) is None) if backend is None else backend
    others = {other: reason or _why_left(call, other, backend) for other, reason in reasons.items() if other != name}
    verb = "chosen" if backend is None else "asked for"
    return Resolution(name, f"{verb}: {BACKENDS[name].description}", others)


def _why_left(call: Call, name: str, asked_for: BackendName | None) -> str:
    """Why a backend that can serve a call does not."""
    if asked_for is not None:
        return f"can serve, and {asked_for} was asked for"
    reason = BACKENDS[name].why_not_chosen(call)
    return "can serve, and is slower" if reason is None else f"can serve, and {reason}: by name only"
