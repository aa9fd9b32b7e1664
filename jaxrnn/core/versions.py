"""What a version of JAX may lack or name otherwise: what kernels stand on is found here, or why it is not."""

from importlib.util import find_spec
from types import ModuleType

import jax


def cudnn_lstm() -> ModuleType | str:
    """`jax.experimental.rnn` where it works, else why it does not.

    Without the CUDA plugin it can be imported but not even traced.
    """
    try:
        from jax.experimental import rnn
    except ImportError:
        return f"JAX {jax.__version__} has no jax.experimental.rnn"
    plugin = getattr(rnn, "gpu_rnn", None)
    if getattr(plugin, "_cuda_rnn", None) is None or not hasattr(plugin, "compute_rnn_workspace_reserve_space_sizes"):
        return "JAX's CUDA plugin is not installed: pip install 'jaxrnn[cuda13]'"
    return rnn


def pallas_tpu() -> ModuleType | str:
    """`jax.experimental.pallas.tpu`, else why it is not there."""
    try:
        from jax.experimental.pallas import tpu
    except ImportError as error:
        return f"JAX {jax.__version__} has no Pallas for TPU: {error}"
    missing = [name for name in ("CompilerParams", "VMEM", "InterpretParams") if not hasattr(tpu, name)]
    return f"Pallas of JAX {jax.__version__} has no {', '.join(missing)}" if missing else tpu


def why_no_cutlass() -> str | None:
    """Why the kernels for Hopper cannot be compiled; None: their compiler is there, and is imported only to compile."""
    return "CUTLASS is not installed: pip install 'jaxrnn[hopper]'" if find_spec("cutlass") is None else None
