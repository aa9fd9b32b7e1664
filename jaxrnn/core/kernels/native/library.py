"""The compiled library: one for each instruction set, of which the fastest that this processor has is used.

`setup.py` compiles `source/` once for each instruction set, as far as there is a compiler that can. Nothing is compiled
here. The environment variable JAXRNN_NATIVE_ISA names an instruction set to use in place of the fastest one.
"""

import ctypes
import os
import re
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

import jax

INSTRUCTION_SETS = ("avx512bf16", "avx512", "avx2", "portable")  # the fastest first, on most processors
FUNCTIONS = ("forward", "save", "pull")


def target(instruction_set: str, function: str) -> str:
    """The name under which JAX knows a function of a library that was loaded."""
    return f"jaxrnn_{instruction_set}_{function}"


@cache
def load(instruction_set: str) -> ctypes.CDLL:
    """Loads a library and makes its functions known to JAX; OSError if one of them cannot."""
    library = ctypes.CDLL(str(_paths()[instruction_set]))
    # JAX would find out only when it starts a CPU, and then have none at all.
    if library.jaxrnn_interface() > _interface_of_jax():
        raise OSError("it was compiled for a newer JAX than this; --no-build-isolation compiles for the one installed")
    for function in FUNCTIONS:
        capsule = jax.ffi.pycapsule(getattr(library, f"jaxrnn_{function}"))
        jax.ffi.register_ffi_target(target(instruction_set, function), capsule, platform="cpu")
    return library


def available() -> list[str]:
    """The instruction sets that were compiled for and that this processor has, the fastest first."""
    paths = _paths()
    if "portable" not in paths:
        return []
    library = ctypes.CDLL(str(paths["portable"]))
    here = [name for name in paths if library.jaxrnn_has(name.encode())]
    return sorted(here, key=lambda name: not library.jaxrnn_gains(name.encode()))  # those without a gain at the end


def _interface_of_jax() -> int:
    """The version of the foreign function interface, as JAX's own headers have it."""
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text()
    major, minor = (re.search(rf"#define XLA_FFI_API_{name} (\d+)", header) for name in ("MAJOR", "MINOR"))
    return int(major[1]) * 1000 + int(minor[1]) if major and minor else 0


def _paths() -> dict[str, Path]:
    folder = Path(__file__).with_name("compiled")
    suffix = EXTENSION_SUFFIXES[0]  # that of this Python, in which setuptools built it
    paths = {name: folder / f"{name}{suffix}" for name in INSTRUCTION_SETS}
    return {name: path for name, path in paths.items() if path.exists()}


class Choice(NamedTuple):
    """The instruction set to use, whose library is loaded; or none, and the reason why."""

    instruction_set: str
    why_not: str | None = None


@cache
def choose() -> Choice:
    """Chooses when it is first asked, and stays with it."""
    asked_for = os.environ.get("JAXRNN_NATIVE_ISA")
    if asked_for and asked_for not in INSTRUCTION_SETS:
        return Choice("", f"cannot tell JAXRNN_NATIVE_ISA={asked_for}: expected one of {', '.join(INSTRUCTION_SETS)}")
    try:
        found = available()
        if not found:
            return Choice("", "was not compiled: install a C++ compiler, and then jaxrnn again")
        if asked_for and asked_for not in found:
            reason = "it was not compiled, or this processor is without it"
            return Choice("", f"has no {asked_for} (JAXRNN_NATIVE_ISA): {reason}")
        load(asked_for or found[0])
    except (OSError, AttributeError) as failure:  # or a function is missing, as it is of another release
        return Choice("", f"cannot be loaded, install jaxrnn again: {failure}")
    return Choice(asked_for or found[0])
