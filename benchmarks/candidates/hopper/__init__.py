"""Persistent kernels for NVIDIA Hopper in CuTe DSL, and the backend that runs them, by name.

A forward and a backward kernel of the LSTM and both GRUs, whose recurrent weights stay on the chip for the whole
sequence. No GPU has run them: their compiled PTX was run on the CPU and compared with the reference
(`tests/core/test_hopper_kernels.py`). Why they are as they are: docs/design/005-hopper.md.

`thread`, `ptx`, `forward` and `backward` import CUTLASS, which comes with the extra `hopper`; `launch` imports them
when a kernel is built, and nothing else does.
"""
