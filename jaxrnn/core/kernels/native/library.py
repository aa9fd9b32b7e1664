"""The compiled library: one for each instruction set, of which the fastest that this processor has is used.

`setup.py` compiles `source/` once for each instruction set, as far as there is a compiler that can. Nothing is compiled
here. The environment variable JAXRNN_NATIVE_ISA names an instruction set to use in place of the fastest one.
"""

import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import jax

INSTRUCTION_SETS = ("avx512bf16", "avx512", "avx2", "portable")  # the fastest first
FUNCTIONS = ("forward", "save", "pull")


def target(instruction_set: str, function: str) -> str:
    """The name under which JAX knows a function of a library that was loaded."""
    return f"jaxrnn_{instruction_set}_{function}"


@cache
def load(instruction_set: str) -> ctypes.CDLL:
    """Loads a library and makes its functions known to JAX; OSError or another exception says what fails."""
    library = ctypes.CDLL(str(_paths()[instruction_set]))
    for function in FUNCTIONS:
        capsule = jax.ffi.pycapsule(getattr(library, f"jaxrnn_{function}"))
        jax.ffi.register_ffi_target(target(instruction_set, function), capsule, platform="cpu")
    return library


def available() -> list[str]:
    """The instruction sets that were compiled for and that this processor has, the fastest first."""
    paths = _paths()
    if "portable" not in paths:
        return []
    has = ctypes.CDLL(str(paths["portable"])).jaxrnn_has
    return [name for name in paths if has(name.encode())]


def _paths() -> dict[str, Path]:
    folder = Path(__file__).parent
    suffix = EXTENSION_SUFFIXES[0]  # that of this Python, in which setuptools built it
    paths = {name: folder / f"_{name}{suffix}" for name in INSTRUCTION_SETS}
    return {name: path for name, path in paths.items() if path.exists()}


def _choose() -> tuple[str, str | None]:
    """The instruction set to use, loaded; or "" and the reason why there is none."""
    asked_for = os.environ.get("JAXRNN_NATIVE_ISA")
    if asked_for and asked_for not in INSTRUCTION_SETS:
        return "", f"cannot tell JAXRNN_NATIVE_ISA={asked_for}: expected one of {', '.join(INSTRUCTION_SETS)}"
    try:
        found = available()
        if not found:
            return "", "was not compiled: install a C++ compiler, and then jaxrnn again"
        if asked_for and asked_for not in found:
            return "", f"has no {asked_for} (JAXRNN_NATIVE_ISA): it was not compiled, or this processor is without it"
        load(asked_for or found[0])
    except Exception as failure:  # the system cannot load it, or JAX is another release than it was compiled for
        return "", f"cannot be loaded, reinstall jaxrnn: {failure}"
    return asked_for or found[0], None


INSTRUCTION_SET, WHY_NOT = _choose()
