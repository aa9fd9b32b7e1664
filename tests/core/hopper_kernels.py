"""The Hopper kernels compiled as `cutlass_call` compiles them, and their PTX run on the CPU."""

import multiprocessing
import os
import re
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import jax
import jax.numpy as jnp
import numpy as np
from ptx_machine import Machine

from jaxrnn.core.hopper import pointwise
from jaxrnn.core.hopper.plan import LANES, operand_dtype

FLOAT32, INT32 = jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)


def forward_outputs(plan, sizes):
    """Shapes and dtypes of what the forward kernel writes, by name; the outputs as wide as the operands."""
    dtype, by_step = operand_dtype(plan), (sizes.time, sizes.batch, sizes.runs, plan.hidden)
    num_saved = pointwise.of_cell(plan.cell).num_saved
    saved = (sizes.runs, sizes.time, sizes.tiles, plan.cluster, plan.warps, num_saved, LANES, 4 // plan.per_word)
    outputs = {"outputs": (by_step, dtype), **_states("last", plan, sizes), "saved": (saved, jnp.dtype(jnp.uint32))}
    return outputs | ({"operands": (by_step, dtype)} if len(plan.cell.products) > 1 else {})


def backward_outputs(plan, sizes):
    """Those of the backward kernel."""
    d_pre = (sizes.time, sizes.batch, sizes.runs, plan.cell.num_slots, plan.hidden)
    return {"d_pre": (d_pre, operand_dtype(plan)), **_states("d_state", plan, sizes)}


def _states(name, plan, sizes):
    shape = (sizes.runs, sizes.batch, plan.hidden)
    return {f"{name}{k}": (shape, FLOAT32) for k in range(len(plan.cell.state_type._fields))}


def compile_kernel(plan, sizes, inputs, outputs):
    """The PTX and the machine code for a Hopper GPU, which need not be there.

    `inputs` and `outputs` are shapes and dtypes by name. Compiled by a process of its own: CUTLASS reads the source of
    a kernel, and cannot read what the run-time type checks of these tests make of it.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_compile, plan, sizes, inputs, outputs).result()


def _compile(plan, sizes, inputs, outputs):
    with TemporaryDirectory() as folder:
        os.environ |= {"CUTE_DSL_ARCH": "sm_90a", "CUTE_DSL_KEEP": "ptx,cubin", "CUTE_DSL_DUMP_DIR": folder}
        from cutlass.jax import cutlass_call  # reads the environment

        from jaxrnn.core.hopper.backward import backward_kernel
        from jaxrnn.core.hopper.forward import forward_kernel

        build = backward_kernel if plan.backward else forward_kernel
        kernel = build(plan, sizes, operand_dtype(plan).itemsize, (*inputs, *outputs))
        arguments, results = ([jax.ShapeDtypeStruct(*of) for of in part.values()] for part in (inputs, outputs))
        call = cutlass_call(kernel, output_shape_dtype=tuple(results), use_static_tensors=True)
        jax.jit(lambda *arrays: call(*arrays)).trace(*arguments).lower(lowering_platforms=("cuda",))
        (ptx,), (cubin,) = Path(folder).glob("*.ptx"), Path(folder).glob("*.cubin")
        return ptx.read_text(), cubin.read_bytes()


def run(plan, sizes, inputs, outputs):
    """The kernel's outputs by name, of arrays by name."""
    arrays = {name: np.asarray(a) for name, a in inputs.items()}
    ptx, _ = compile_kernel(plan, sizes, {name: (a.shape, a.dtype) for name, a in arrays.items()}, outputs)
    grid = (plan.cluster, sizes.tiles, sizes.runs)
    machine = Machine(ptx, grid=grid, cluster=plan.cluster, threads=plan.threads, shared_bytes=plan.shared_bytes)
    return dict(zip(outputs, machine(list(arrays.values()), list(outputs.values())), strict=True))


def forward_inputs(plan, sizes):
    """Shapes and dtypes of what the forward kernel reads, by name."""
    inputs = {"inputs": ((sizes.time, sizes.batch, sizes.runs, plan.cell.num_gates, plan.hidden), FLOAT32)}
    inputs |= {"weights": _packed(plan, sizes), "lengths": ((sizes.batch,), INT32)}
    bias = {"bias": ((sizes.runs, plan.hidden), FLOAT32)} if plan.cell.name == "gru" else {}
    return inputs | bias | _states("state", plan, sizes)


def backward_inputs(plan, sizes):
    """Those of the backward kernel."""
    outputs = forward_outputs(plan, sizes)
    inputs = {"weights": _packed(plan, sizes), "lengths": ((sizes.batch,), INT32), "saved": outputs["saved"]}
    return inputs | {"d_outputs": outputs["outputs"]} | _states("d_last", plan, sizes)


def _packed(plan, sizes):
    shape = (sizes.runs, plan.cluster, plan.warps, plan.words // 4, LANES, 4, plan.per_word)
    return shape, operand_dtype(plan)


def resources(plan, sizes):
    """Of a compiled kernel, by cuobjdump: registers of a thread, bytes of stack and of local memory."""
    inputs, outputs = (backward_inputs, backward_outputs) if plan.backward else (forward_inputs, forward_outputs)
    _, cubin = compile_kernel(plan, sizes, inputs(plan, sizes), outputs(plan, sizes))
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = ["cuobjdump", "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("REG", "STACK", "LOCAL"))
