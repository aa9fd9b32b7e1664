"""A kernel for TPUs in Pallas, and the backend "pallas_tpu" that runs it. No TPU has run it."""

from benchmarks.candidates.pallas_tpu import backend
from jaxrnn.core import Backend, register_backend

register_backend(
    "pallas_tpu",
    Backend(
        backend.run,
        "recurrent weights stay in a TPU's VMEM, both directions of a layer in one program",
        backend.why_not_here,
        backend.why_not,
        lambda call: "was not measured yet",
    ),
)
