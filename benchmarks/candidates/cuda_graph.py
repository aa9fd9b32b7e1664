"""A recurrence as one CUDA graph: what XLA must be told for it, and only for the function that is compiled so.

XLA records what it can into CUDA graphs, but by default no loops: each step of a scan is launched from the host, a few
microseconds a kernel. Loops can be recorded as well, if everything in them can: a call of cuDNN's LSTM, which waits for
the host, cannot.
"""

# What XLA records by default (read in jaxlib 0.10.2), and loops.
RECORDED = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,CONDITIONAL,DYNAMIC_SLICE_FUSION,WHILE"


def cuda_graph_options(*, unroll: bool = True) -> dict[str, str | int | bool]:
    """Options for `jax.jit(f, compiler_options=...)` with which the scans in f become CUDA graphs.

    Not the default of anything here: it was not measured yet. Needs CUDA 12.3 or later, and driver; without, XLA
    leaves the loops as they are. A profiler that is attached turns all graphs off.

    Args:
      unroll: a loop of known length is recorded step by step, rather than as a loop inside the graph.

    Example:
      >>> import jax
      >>> step = jax.jit(lambda x: x + 1, compiler_options=cuda_graph_options())
      >>> int(step(1))
      2
    """
    return {
        "xla_gpu_enable_command_buffer": RECORDED,
        "xla_gpu_graph_min_graph_size": 1,
        "xla_gpu_command_buffer_unroll_loops": unroll,
    }
