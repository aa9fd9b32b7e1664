"""The device, and what both sides must be told alike."""

from typing import Any

import jax
import jax.numpy as jnp


def on_gpu() -> bool:
    """Whether JAX runs on a GPU."""
    return jax.default_backend() == "gpu"


def set_precision() -> str:
    """What JAX makes of float32 products, tried out, and the same for PyTorch; TF32 is JAX's choice on a GPU."""
    slightly_over_one = jnp.full((256, 256), 1 + 2**-13)  # TF32 has 10 bits after the point
    rounded = bool((slightly_over_one @ jnp.eye(256) == 1).all())
    torch = _torch()
    if torch is not None:
        torch.backends.cuda.matmul.allow_tf32 = rounded
        torch.backends.cudnn.allow_tf32 = rounded
    return "tensorfloat32" if rounded else "float32"


def _torch() -> Any | None:
    try:
        import torch
    except ImportError:
        return None
    return torch


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
