"""The options of a recurrence: listed here once, with their meaning, and passed on as one frozen object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from jaxtyping import Bool, Float

from jaxrnn.core.parameters import State
from jaxrnn.typing import AnyArray, Lengths

BackendName = str  # one of `jaxrnn.core.backends()`, which `jaxrnn.core.register_backend` adds to


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything that a run over sequences can be told besides its inputs and weights.

    Attributes:
      lengths: Valid steps of each row, integers `[batch]`, 0 ≤ n ≤ time; None means all. Outputs past the length are
        zero, the state stops there, and the content of the padding, even NaN, changes nothing.
      mask: Valid steps, booleans `[time, batch]`, in place of lengths. It may have gaps and padding on either side.
        An invalid step has output zero and leaves the state as it is.
      resets: Booleans `[time, batch]`, true where a new sequence starts: the row's state returns to `reset_state`
        before that step, so that several sequences in one row give what each gives by itself. With `reverse` it
        returns after that step, on the way to the sequence before.
      state: The state to start from, each part `[batch, hidden]`; None means zeros.
      reset_state: The state that a reset leads to, each part `[batch, hidden]`; None means zeros.
      reverse: Run from each row's last valid step to its first.
      recurrent_dropout: Factors `[batch, hidden]` that multiply h before the recurrent products, the same at every
        step: zero, or 1/(1 - rate) (Gal & Ghahramani 2016, arXiv:1512.05287). Every derivative takes them as constant.
      zoneout: A state whose parts are booleans `[time, batch, hidden]`, true where the old value stays; or numbers,
        the share of the old value, which is the expectation to use at evaluation; or None (Krueger et al. 2017,
        arXiv:1606.01305). Every derivative takes it as constant.
      max_gradient: Bound on the elements of the state's gradient, which is clipped to ± this at every step of the
        reverse pass; None means no bound.
      remat_chunk: Number of steps between the states that are kept for the reverse pass, which runs each chunk again.
        Memory grows with time/k + k rather than with time, and the forward pass is done twice. None keeps all steps.
        The numbers stay the same.
      all_states: Return the whole state of every step, each part `[time, batch, hidden]`, in place of the outputs,
        which are its h.
      backend: Name of the backend that must serve the call; None chooses one, see `jaxrnn.core.resolve_backend`.
    """

    lengths: Lengths | None = None
    mask: Bool[AnyArray, "time batch"] | None = None
    resets: Bool[AnyArray, "time batch"] | None = None
    state: State | None = None
    reset_state: State | None = None
    reverse: bool = False
    recurrent_dropout: Float[AnyArray, "batch width"] | None = None
    zoneout: State | None = None
    max_gradient: float | None = None
    remat_chunk: int | None = None
    all_states: bool = False
    backend: BackendName | None = None


# The options that act inside the loop over time. A kernel says by their names which of them it cannot serve.
INSIDE = ("mask", "resets", "recurrent_dropout", "zoneout", "max_gradient", "all_states")


def names_inside(options: Sequence[Options]) -> list[str]:
    """The options among `INSIDE` that are given in any of these."""

    def is_given(name: str, one: Options) -> bool:
        value = getattr(one, name)
        return value is not None and value is not False

    return [name for name in INSIDE if any(is_given(name, one) for one in options)]


class SharedArguments(TypedDict, total=False):
    """The keyword arguments that all layers and directions share, for type checkers; see `Options`."""

    lengths: Lengths | None
    mask: Bool[AnyArray, "time batch"] | None
    resets: Bool[AnyArray, "time batch"] | None
    max_gradient: float | None
    remat_chunk: int | None
    backend: BackendName | None


class Arguments(SharedArguments, total=False):
    """The keyword arguments of one direction of one layer, without `all_states`, for type checkers; see `Options`."""

    state: State | None
    reset_state: State | None
    reverse: bool
    recurrent_dropout: Float[AnyArray, "batch width"] | None
    zoneout: State | None
