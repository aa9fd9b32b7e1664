"""What may be asked of a run over sequences, beside inputs and weights: `unroll` says what each means."""

from typing import Literal, TypedDict

from jaxtyping import Bool, Float

from jaxrnn.core.parameters import State
from jaxrnn.typing import AnyArray, Lengths

BackendName = Literal["hopper", "cudnn", "pallas_tpu", "fused_scan", "trimmed_scan", "reference"]


class Options(TypedDict, total=False):
    """Keyword arguments of `unroll`, which `lstm`, `gru` and `elman` hand on."""

    lengths: Lengths | None
    mask: Bool[AnyArray, "time batch"] | None
    resets: Bool[AnyArray, "time batch"] | None
    state: State | None
    reset_state: State | None
    reverse: bool
    recurrent_dropout: Float[AnyArray, "batch width"] | None
    zoneout: State | None
    max_gradient: float | None
    remat_chunk: int | None
    all_states: bool
    hidden_axis: str | None
    backend: BackendName | None
