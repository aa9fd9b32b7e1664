"""The compiled library: one for each instruction set, of which the fastest that this processor has is loaded.

`setup.py` compiles `source/` once for each instruction set, as far as there is a compiler that can. Nothing is compiled
here. The environment variable JAXRNN_NATIVE_ISA names an instruction set to use in place of the fastest one.
"""

import ctypes
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import jax

INSTRUCTION_SETS = ("avx512bf16", "avx512", "avx2", "portable")  # the fastest first
FUNCTIONS = ("forward", "save", "pull")


def target(function: str) -> str:
    """The name under which JAX knows one of the functions."""
    return f"jaxrnn_native_{function}"


def _path(instruction_set: str) -> Path | None:
    folder = Path(__file__).parent
    paths = [folder / f"_{instruction_set}{suffix}" for suffix in EXTENSION_SUFFIXES]
    return next((path for path in paths if path.exists()), None)


def _load() -> tuple[str, str | None]:
    """The instruction set whose library was loaded and made known to JAX, or "" and the reason why there is none."""
    asked_for = os.environ.get("JAXRNN_NATIVE_ISA")
    if asked_for and asked_for not in INSTRUCTION_SETS:
        return "", f"JAXRNN_NATIVE_ISA is {asked_for!r}, and not one of {', '.join(INSTRUCTION_SETS)}"
    paths = {name: path for name in INSTRUCTION_SETS if (path := _path(name)) is not None}
    if "portable" not in paths:
        return "", "was not compiled: install a C++ compiler, and then jaxrnn again"
    try:
        portable = ctypes.CDLL(str(paths["portable"]))
        here = [name for name in paths if portable.jaxrnn_has(name.encode())]
        if asked_for and asked_for not in here:
            return "", f"{asked_for} (JAXRNN_NATIVE_ISA) was not compiled, or this processor does not have it"
        name = asked_for or here[0]
        library = ctypes.CDLL(str(paths[name]))
        for function in FUNCTIONS:
            capsule = jax.ffi.pycapsule(getattr(library, f"jaxrnn_{function}"))
            jax.ffi.register_ffi_target(target(function), capsule, platform="cpu")
    except Exception as failure:  # of the system's loader, or of JAX, which may be another release than compiled for
        return "", f"cannot be loaded: {failure}"
    return name, None


INSTRUCTION_SET, WHY_NOT = _load()
