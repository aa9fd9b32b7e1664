"""Whether a model fits into memory: asked before anything is made, as the system might end the process instead."""

import math
import os
from typing import Any

import jax

from jaxrnn.errors import InputError


def check_memory(arrays: Any, *, num_parameters: int, purpose: str) -> None:
    """Compares the size of arrays that are to be made with the memory of the devices, or of the machine.

    Args:
      arrays: A pytree of shapes, such as `jax.eval_shape` returns.
      num_parameters: How many numbers the model has, for the message.
      purpose: What the arrays are needed for, such as "training".

    Raises:
      InputError: They do not fit.
    """
    needed = sum(math.prod(each.shape) * each.dtype.itemsize for each in jax.tree.leaves(arrays))
    stats = [device.memory_stats() for device in jax.local_devices()]
    of_machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = sum(each["bytes_limit"] for each in stats if each) or of_machine
    if needed > available:
        raise InputError(
            f"model: {purpose} its {num_parameters:,} parameters needs more than {needed / 2**30:,.0f} GiB, and this "
            f"machine has {available / 2**30:,.0f}; make the model smaller, such as by model.hidden"
        )
