"""Persistent kernels for NVIDIA Hopper in CuTe DSL, and the backend "hopper" that runs them.

A forward and a backward kernel of the LSTM and both GRUs, whose recurrent weights stay on the chip for the whole
sequence. No GPU has run them: their compiled PTX was run on the CPU and compared with the reference
(`tests/candidates/test_hopper_kernels.py`). docs/design/005-hopper.md explains their design.

`thread`, `ptx`, `forward` and `backward` import CUTLASS, which comes with the extra `hopper`; `launch` imports them
when a kernel is built, and nothing else does.
"""

from benchmarks.candidates.hopper import backend
from jaxrnn.core import Backend, register_backend

register_backend(
    "hopper",
    Backend(
        backend.run,
        "recurrent weights stay on the chip of a Hopper GPU, both directions of a layer in one launch",
        backend.why_not_here,
        backend.why_not,
        lambda call: "was not measured yet",
    ),
)
