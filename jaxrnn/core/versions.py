"""What jaxrnn uses of JAX beyond its stable interface, in one place: imports, and the rules of our own primitives.

`INTERNALS` lists every such name. If a release of JAX drops one of them, importing jaxrnn says which.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import jax

INTERNALS: Mapping[str, tuple[str, ...]] = {
    "jax.core": ("ShapedArray", "Tracer"),
    "jax.extend.core": ("Primitive",),
    "jax.experimental.layout": ("Layout", "with_layout_constraint"),
    "jax.interpreters.ad": (
        "Zero",
        "defbilinear",
        "deflinear2",
        "instantiate_zeros",
        "is_undefined_primal",
        "primitive_jvps",
        "primitive_transposes",
    ),
    "jax.interpreters.batching": ("bdim_at_front", "defvectorized", "primitive_batchers"),
    "jax.interpreters.mlir": ("lower_fun", "register_lowering"),
    "jax.sharding": ("get_abstract_mesh",),
}


def missing_internals(needed: Mapping[str, tuple[str, ...]] = INTERNALS) -> list[str]:
    """The names, such as "jax.core.Tracer", that this release of JAX does not have."""
    missing = []
    for module_name, names in needed.items():
        try:
            module = import_module(module_name)
        except ImportError:
            missing.append(module_name)
        else:
            missing += [f"{module_name}.{name}" for name in names if not hasattr(module, name)]
    return missing


def check_internals(needed: Mapping[str, tuple[str, ...]] = INTERNALS) -> None:
    """Raises an ImportError that names everything this release of JAX does not have."""
    missing = missing_internals(needed)
    if missing:
        raise ImportError(
            f"jaxrnn needs {', '.join(missing)}, which JAX {jax.__version__} does not have; jaxrnn was tested with the "
            "release that constraints.txt names"
        )


check_internals()

from jax.core import ShapedArray as ShapedArray  # noqa: E402
from jax.core import Tracer as Tracer  # noqa: E402
from jax.experimental.layout import Layout, with_layout_constraint  # noqa: E402
from jax.extend.core import Primitive as Primitive  # noqa: E402
from jax.interpreters import ad, batching, mlir  # noqa: E402
from jax.sharding import PartitionSpec  # noqa: E402
from jax.sharding import get_abstract_mesh as get_abstract_mesh  # noqa: E402

Zero = ad.Zero
bdim_at_front = batching.bdim_at_front
instantiate_zeros = ad.instantiate_zeros
is_undefined_primal = ad.is_undefined_primal


def register_rules(
    primitive: Primitive,
    *,
    impl: Callable,
    shapes: Callable,
    lower: Callable | None = None,
    lower_for: Mapping[str, Callable] | None = None,
    choose_lowering: Callable | None = None,
    batch: Callable | None = None,
    jvp: Callable | None = None,
    transpose: Callable | None = None,
    linear: Callable | None = None,
    bilinear: tuple[Callable, Callable] | None = None,
) -> None:
    """Tells JAX all it has to know of a primitive.

    Args:
      primitive: The primitive, with `multiple_results` set.
      impl: The function outside of `jit`.
      shapes: The abstract results, from the abstract operands.
      lower: The function as JAX's own operations, on every platform without an entry of its own.
      lower_for: Such a function for some platforms, by their names.
      choose_lowering: `(platforms, **params) -> function`, in place of `lower`, where the parameters decide. There are
        no platforms for a program that is exported, which may run on another machine.
      batch: The rule of `vmap`; None if the primitive acts element by element.
      jvp: The rule of forward mode.
      transpose: The rule of transposition.
      linear: The transpose of a primitive that is linear in its one operand, in place of `jvp` and `transpose`.
      bilinear: The cotangents of both operands of a primitive that is linear in each.
    """
    multiple_results = primitive.multiple_results
    primitive.def_impl(impl)
    primitive.def_abstract_eval(shapes)
    if lower is not None:
        mlir.register_lowering(primitive, mlir.lower_fun(lower, multiple_results=multiple_results))
    for platform, function in (lower_for or {}).items():
        rule = mlir.lower_fun(function, multiple_results=multiple_results)
        mlir.register_lowering(primitive, rule, platform=platform)
    if choose_lowering is not None:

        def chosen(ctx: Any, *operands: Any, **params: Any) -> Any:
            module = ctx.module_context
            platforms = () if module.lowering_parameters.for_export else module.platforms
            function = choose_lowering(set(platforms), **params)
            return mlir.lower_fun(function, multiple_results=multiple_results)(ctx, *operands)

        mlir.register_lowering(primitive, chosen)
    if batch is None:
        batching.defvectorized(primitive)
    else:
        batching.primitive_batchers[primitive] = batch
    if jvp is not None:
        ad.primitive_jvps[primitive] = jvp
    if transpose is not None:
        ad.primitive_transposes[primitive] = transpose
    if linear is not None:
        ad.deflinear2(primitive, linear)
    if bilinear is not None:
        ad.defbilinear(primitive, *bilinear)


def abstract_like(aval: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """The type of an array of this shape and dtype that varies, inside `shard_map`, over the mesh axes of another."""
    if aval.sharding.mesh.empty:
        return ShapedArray(shape, dtype)
    sharding = aval.sharding.update(spec=PartitionSpec(*[None] * len(shape)))
    return aval.update(shape=shape, dtype=jax.numpy.dtype(dtype), weak_type=False, sharding=sharding)


def row_major(x: jax.Array) -> jax.Array:
    """The array, which XLA is made to store with its last axis contiguous."""
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


def matmul_precision() -> Any:
    """JAX's default precision of matrix products, such as "highest"; None is the platform's own default."""
    return getattr(jax.config, "jax_default_matmul_precision")  # noqa: B009 (JAX does not declare it)


def default_device() -> Any:
    """The device that a computation runs on unless it is told otherwise."""
    device = getattr(jax.config, "jax_default_device")  # noqa: B009 (JAX does not declare it)
    if device is None:
        return jax.devices()[0]
    return jax.devices(device)[0] if isinstance(device, str) else device


def cudnn_lstm() -> ModuleType | str:
    """`jax.experimental.rnn` where it works, else the reason why it does not.

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
