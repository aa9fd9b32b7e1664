"""One launch of a kernel: the arrays that it writes, and the call itself.

Arrays go by the names that `forward` and `backward` describe them under, in that order.
"""

import jax.numpy as jnp
from jax import Array, ShapeDtypeStruct

from benchmarks.candidates.hopper import pointwise
from benchmarks.candidates.hopper.plan import LANES, Plan, Sizes, operand_dtype


def forward_outputs(
    plan: Plan, sizes: Sizes, output_dtype: jnp.dtype, *, save: bool = True
) -> dict[str, ShapeDtypeStruct]:
    """What the forward kernel writes; with `save` what the backward pass needs, too."""
    by_step = sizes.time, sizes.batch, sizes.runs, plan.hidden
    outputs = {"outputs": ShapeDtypeStruct(by_step, output_dtype), **states("last", plan, sizes)}
    if save:
        num_saved = pointwise.of_cell(plan.cell).num_saved
        blocks = sizes.runs, sizes.time, sizes.tiles, plan.cluster, plan.warps
        outputs["saved"] = ShapeDtypeStruct((*blocks, num_saved, LANES, 4 // plan.per_word), jnp.dtype(jnp.uint32))
    if save and len(plan.cell.products) > 1:
        outputs["operands"] = ShapeDtypeStruct(by_step, operand_dtype(plan))
    return outputs


def backward_outputs(plan: Plan, sizes: Sizes) -> dict[str, ShapeDtypeStruct]:
    """What the backward kernel writes."""
    d_pre = sizes.time, sizes.batch, sizes.runs, plan.cell.num_slots, plan.hidden
    return {"d_pre": ShapeDtypeStruct(d_pre, operand_dtype(plan)), **states("d_state", plan, sizes)}


def states(name: str, plan: Plan, sizes: Sizes) -> dict[str, ShapeDtypeStruct]:
    """The parts of a state of all runs, as `name` 0, 1, ..."""
    shape = sizes.runs, sizes.batch, plan.hidden
    parts = range(len(plan.cell.state_type._fields))
    return {f"{name}{k}": ShapeDtypeStruct(shape, jnp.dtype(jnp.float32)) for k in parts}


def launch(
    plan: Plan, sizes: Sizes, output_dtype: jnp.dtype, inputs: dict[str, Array], outputs: dict[str, ShapeDtypeStruct]
) -> dict[str, Array]:
    """Runs the kernel of this plan; `output_dtype` is that of the recurrence's outputs, or of their gradient."""
    # Not before there is something to compile: CUTLASS comes with the extra `hopper`, and takes seconds to import.
    from cutlass.jax import cutlass_call  # pyright: ignore[reportMissingImports]

    from benchmarks.candidates.hopper.backward import backward_kernel
    from benchmarks.candidates.hopper.forward import forward_kernel

    build = backward_kernel if plan.backward else forward_kernel
    what = plan, sizes, jnp.dtype(output_dtype).itemsize, (*inputs, *outputs)
    call = cutlass_call(
        build(*what),
        output_shape_dtype=tuple(outputs.values()),
        use_static_tensors=True,
        compile_key=("jaxrnn", *what),  # a program that has the kernel twice traces it once
    )
    return dict(zip(outputs, call(*inputs.values()), strict=True))
