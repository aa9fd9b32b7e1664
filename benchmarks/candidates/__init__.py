"""Kernels that no device of ours has run yet: each registers itself as a backend when it is imported.

`import benchmarks.candidates.hopper` adds the backend "hopper" to `jaxrnn.core.backends()`, and `benchmarks.run gpu`
measures it beside the others. A candidate moves into `jaxrnn/core` when it has been measured and is the fastest.
"""

from importlib import import_module

NAMES = ("hopper", "pallas_tpu")


def register_all() -> None:
    """Registers every candidate as a backend."""
    for name in NAMES:
        import_module(f"{__name__}.{name}")
