"""The backends: what each is for, what it can serve, and the choice among them, explained in words."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Unpack

from jax import Array

from jaxrnn.core.call import Call
from jaxrnn.core.cells import Cell
from jaxrnn.core.control import Direction, Results
from jaxrnn.core.kernels import cudnn
from jaxrnn.core.kernels.native import backend as native
from jaxrnn.core.options import Arguments, BackendName, Options
from jaxrnn.core.parameters import Layers, Params
from jaxrnn.core.scans.fused import fused_scan
from jaxrnn.core.scans.reference import reference_scan


def _anywhere() -> None:
    return None


def _anything(call: Call) -> None:
    return None


class Backend(NamedTuple):
    """A way to run one layer, in one direction or both; what it is for, and what it cannot serve.

    Attributes:
      run: `(x, directions) -> results`: runs each direction over x `[time, batch, features]`. The outputs may hold
        anything past the lengths. A backend that names no option in `why_not` is given masks that come from lengths,
        whose first steps are the valid ones.
      description: What it is for.
      why_not_here: The reason why this machine cannot run it; None means that it can.
      why_not: The reason why it cannot serve a call; None means that it can.
      why_not_chosen: The reason why it runs by name only, although it can serve the call; None means that it is
        chosen before the backends below it.
      run_layers: An optimisation for layers of one width with nothing between them, which `run` could serve one by
        one: `(x, layers) -> (outputs, states)`, the outputs of each direction of the last layer, and the last states
        of all layers and directions. None if there is none.
      ends_in_zeros: Whether its outputs are zero past the lengths, so that nobody has to make them so.
    """

    run: Callable[[Array, Sequence[Direction]], Sequence[Results]]
    description: str
    why_not_here: Callable[[], str | None] = _anywhere
    why_not: Callable[[Call], str | None] = _anything
    why_not_chosen: Callable[[Call], str | None] = _anything
    run_layers: Callable[[Array, Sequence[Sequence[Direction]]], tuple[Sequence[Array], Layers]] | None = None
    ends_in_zeros: bool = False


def _scan(scan: Callable[[Array, Direction], Results]) -> Callable[[Array, Sequence[Direction]], Sequence[Results]]:
    return lambda x, directions: [scan(x, direction) for direction in directions]


# In the order of preference of `backend=None`. The scans serve every call on every platform, so one is always left.
BACKENDS: dict[str, Backend] = {
    "cudnn": Backend(
        cudnn.run,
        "NVIDIA's LSTM, float32 with TF32 products, all layers and both directions in one call",
        cudnn.why_not_here,
        cudnn.why_not,
        lambda call: "was not measured yet",
        cudnn.run_layers,
    ),
    "native": Backend(
        native.run,
        "a library in C++ for a CPU: both directions in one call, each row as many steps as it has",
        native.why_not_here,
        native.why_not,
        native.why_not_chosen,
        ends_in_zeros=True,
    ),
    "fused_scan": Backend(
        _scan(fused_scan), "projections and weight gradients outside the loop; every option, every transformation"
    ),
    "reference": Backend(_scan(reference_scan), "plain lax.scan with autodiff; every option, every transformation"),
}


def register_backend(name: str, backend: Backend) -> None:
    """Adds a backend, which then serves by its name, and is preferred to all others where `why_not_chosen` is None.

    Args:
      name: The name it is asked for by.
      backend: What it can serve, and how.

    Raises:
      ValueError: Another backend has this name.
    """
    if BACKENDS.get(name, backend) != backend:
        raise ValueError(f"name: expected a name that no backend has, got {name!r}")
    others = dict(BACKENDS)
    BACKENDS.clear()
    BACKENDS.update({name: backend} | others)


class Resolution(NamedTuple):
    """The backend that serves a call, why, and why each other one does not. `print` shows a line for each backend.

    Attributes:
      name: The backend's name.
      reason: Why it serves the call, and what it is for.
      others: The reason against each other backend, by its name.
    """

    name: str
    reason: str
    others: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(f"{name}: {why}" for name, why in {self.name: self.reason, **self.others}.items())


def backends() -> dict[str, str | None]:
    """All backends by name, in the order of preference: None, or the reason why this machine cannot run it.

    Example:
      >>> backends()["fused_scan"] is None
      True
    """
    return {name: backend.why_not_here() for name, backend in BACKENDS.items()}


def check_backend(backend: BackendName | None) -> None:
    """ValueError unless there is a backend of that name, or the name is None."""
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend: expected None or one of {', '.join(sorted(BACKENDS))}, got {backend!r}")


def resolve_backend(
    cell: Cell, x: Any, params: Params | Layers, *, all_states: bool = False, **options: Unpack[Arguments]
) -> Resolution:
    """Says which backend serves a call of `unroll` or `unroll_layers` with these arguments, and why. Nothing is run.

    Args:
      cell: The equations.
      x: Inputs `[time, batch, features]`, or a `jax.ShapeDtypeStruct` of them. An array that exists says by its device
        where the call will run; anything else runs on JAX's default device.
      params: Weights, or for `unroll_layers` those of each direction of each layer.
      all_states: As in the call, see `Options`.
      **options: The call's other arguments, see `Options`. A `backend` is taken if it can serve the call; None chooses
        the first that can, among those that were measured to be the fastest where they can serve.

    Returns:
      The choice, and the reasons.

    Raises:
      ValueError: There is no backend of that name, or it cannot serve the call; the message says why.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn import core
      >>> params = core.ElmanParams(jnp.ones((3, 1, 2)), jnp.ones((2, 1, 2)), jnp.zeros((1, 2)))
      >>> x = jax.ShapeDtypeStruct((5, 1, 3), "float32")
      >>> found = resolve_backend(core.elman_cell("tanh"), x, params, max_gradient=1.0)
      >>> found.name
      'fused_scan'
    """
    given = Options(all_states=all_states, **options)
    return resolve(Call.of(cell, x, params, [given]), given.backend)


def resolve(call: Call, backend: BackendName | None) -> Resolution:
    """`resolve_backend` of a call."""
    check_backend(backend)
    reasons = {name: candidate.why_not(call) for name, candidate in BACKENDS.items()}
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
