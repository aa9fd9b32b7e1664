"""State dicts in safetensors files: names and numbers, nothing that could run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file


def save_safetensors(path: str | Path, state_dict: Mapping[str, Any]) -> None:
    """Writes a state dict to a file that PyTorch, Keras and others read.

    Args:
      path: The file to write; an existing one is replaced.
      state_dict: Names to arrays, such as `to_torch(module)`.

    Example:
      >>> import tempfile
      >>> from jaxrnn import nn
      >>> from jaxrnn.convert import from_torch, to_torch
      >>> lstm = nn.LSTM(2, 3, rngs=0)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_safetensors(f"{folder}/lstm.safetensors", to_torch(lstm))
      ...     from_torch(lstm, load_safetensors(f"{folder}/lstm.safetensors"))
    """
    save_file({name: np.asarray(array, order="C") for name, array in state_dict.items()}, path)


def load_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict from a file.

    Args:
      path: A `.safetensors` file.

    Returns:
      Names to arrays, for `from_torch` and the like.

    Raises:
      ValueError: The file is not in this format, such as a pickle of `torch.save`, which is never read; open that with
        `torch.load(path, weights_only=True)`.
      FileNotFoundError: There is no such file.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: expected a safetensors file, got one that cannot be read as such ({error}); of a PyTorch "
            "checkpoint, take torch.load(path, weights_only=True)"
        ) from None
