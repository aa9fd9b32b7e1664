"""The device, and what both sides must be told alike."""

import jax


def on_gpu() -> bool:
    """Whether JAX runs on a GPU."""
    return jax.default_backend() == "gpu"


def set_precision() -> str:
    """Float32 products: TF32 on a GPU, in JAX and in PyTorch; returns what they are."""
    if not on_gpu():
        return "float32"
    jax.config.update("jax_default_matmul_precision", "tensorfloat32")
    try:
        import torch
    except ImportError:
        return "tensorfloat32"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return "tensorfloat32"


def torch_device() -> str:
    """Where PyTorch runs: on a GPU if JAX does.

    Raises:
      RuntimeError: JAX has a GPU and PyTorch has none; a comparison would be of two machines.
    """
    import torch

    if not on_gpu():
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no GPU where JAX sees one; install its CUDA build")
    return "cuda"
