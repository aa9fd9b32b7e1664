"""The library in C++ (`jaxrnn/core/kernels/native`), compiled once for each instruction set as far as that is possible.

Each is optional: where there is no compiler, or one that does not know an instruction set, setuptools warns and goes
on, and jaxrnn runs without it. Everything else about the package is in pyproject.toml.
"""

import os
import platform
import sys
from copy import copy
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

FOLDER = "jaxrnn/core/kernels/native"
HEADERS = ("cells", "formats", "forward", "layer", "memory", "pointwise", "products", "pull", "rows", "team", "vectors")
# No -ffast-math: NaN and infinity stay what they are. A product and a sum may become one operation, though, which the
# standard's own mode of this compiler would not do.
OPTIONS = [
    "-std=c++17",
    "-O2",
    "-g0",
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
]
WARNINGS = ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-unused-parameter"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mprefer-vector-width=512"]
INSTRUCTION_SETS = {"portable": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS |= {"avx2": ["-mavx2", "-mfma"], "avx512": AVX512, "avx512bf16": [*AVX512, "-mavx512bf16"]}


class BuildApart(build_ext):
    """Builds every library in a folder of its own: all have the same sources, and are compiled at the same time."""

    def build_extension(self, ext: Extension) -> None:
        """Compiles one library into files of its own."""
        own = copy(self)
        own.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(own, ext)


def headers_of_jax() -> list[str]:
    """The folder with the headers of JAX's foreign function interface, without importing JAX."""
    jaxlib = find_spec("jaxlib")
    return [] if jaxlib is None or jaxlib.origin is None else [str(Path(jaxlib.origin).parent / "include")]


def library(name: str, flags: list[str]) -> Extension:
    """One build of the library. It has no Python in it, and is loaded by its path."""
    return Extension(
        f"{FOLDER.replace('/', '.')}.compiled.{name}",
        [f"{FOLDER}/source/kernel.cc", f"{FOLDER}/source/handlers.cc"],
        depends=[f"{FOLDER}/source/{header}.h" for header in HEADERS],
        include_dirs=headers_of_jax(),
        extra_compile_args=[*OPTIONS, *WARNINGS, *flags],
        extra_link_args=["-Wl,-s"] if sys.platform == "linux" else [],
        language="c++",
        optional=True,
    )


setup(
    cmdclass={"build_ext": BuildApart},
    ext_modules=[library(name, flags) for name, flags in INSTRUCTION_SETS.items()],
    options={"build_ext": {"parallel": os.cpu_count()}},
)
