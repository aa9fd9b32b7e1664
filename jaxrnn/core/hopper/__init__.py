"""Persistent kernels for NVIDIA Hopper in CuTe DSL. **No backend uses them yet**: nothing in `jaxrnn` imports this.

A forward and a backward kernel of the LSTM and both GRUs, whose recurrent weights stay on the chip for the whole
sequence. The compiled PTX was run on the CPU and compared with the reference
(`tests/core/test_hopper_kernels.py`); no GPU has
run it. What is missing, in order: docs/design/005-hopper.md.

`plan`, `packing` and `pointwise` are free of GPU code. `thread`, `ptx`, `forward` and `backward` import CUTLASS, which
comes with the extra `hopper`, and are to be imported only where a kernel is built.
"""
