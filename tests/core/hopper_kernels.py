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

from jaxrnn.core.hopper.launch import backward_outputs, forward_outputs, launch, states
from jaxrnn.core.hopper.plan import LANES, operand_dtype

def compile_kernel(plan, sizes, inputs, outputs):
    """The PTX and the machine code for a Hopper GPU, which need not be there.

    `inputs` and `outputs` are shapes and dtypes by name, the recurrence's outputs as wide as the operands. Compiled by a process of its own: CUTLASS reads the source of
    a kernel, and cannot read what the run-time type checks of these tests make of it.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_compile, plan, sizes, inputs, outputs).result()


def _compile(plan, sizes, inputs, outputs):
    with TemporaryDirectory() as folder:
        os.environ |= {"CUTE_DSL_ARCH": "sm_90a", "CUTE_DSL_KEEP": "ptx,cubin", "CUTE_DSL_DUMP_DIR": folder}

        def function(*arrays):  # not a dict, which JAX would sort
            return launch(plan, sizes, operand_dtype(plan), dict(zip(inputs, arrays, strict=True)), outputs)

        jax.jit(function).trace(*inputs.values()).lower(lowering_platforms=("cuda",))
        (ptx,), (cubin,) = Path(folder).glob("*.ptx"), Path(folder).glob("*.cubin")
        return ptx.read_text(), cubin.read_bytes()


def run(plan, sizes, inputs, outputs):
    """The kernel's outputs by name, of arrays by name."""
    arrays = {name: np.asarray(a) for name, a in inputs.items()}
    shapes = {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in arrays.items()}
    ptx, _ = compile_kernel(plan, sizes, shapes, outputs)
    grid = (plan.cluster, sizes.tiles, sizes.runs)
    machine = Machine(ptx, grid=grid, cluster=plan.cluster, threads=plan.threads, shared_bytes=plan.shared_bytes)
    results = machine(list(arrays.values()), [(a.shape, a.dtype) for a in outputs.values()])
    return dict(zip(outputs, results, strict=True))


def forward_inputs(plan, sizes):
    """Shapes and dtypes of what the forward kernel reads, by name."""
    by_step = sizes.time, sizes.batch, sizes.runs, plan.cell.num_gates, plan.hidden
    bias = {"bias": _shape(sizes.runs, plan.hidden)} if plan.cell.name == "gru" else {}
    return {"inputs": _shape(*by_step)} | _of_both(plan, sizes) | bias | states("state", plan, sizes)


def backward_inputs(plan, sizes):
    """Those of the backward kernel."""
    outputs = forward_outputs(plan, sizes, operand_dtype(plan))
    inputs = _of_both(plan, sizes) | {"saved": outputs["saved"], "d_outputs": outputs["outputs"]}
    return inputs | states("d_last", plan, sizes)


def _of_both(plan, sizes):
    packed = sizes.runs, plan.cluster, plan.warps, plan.words // 4, LANES, 4, plan.per_word
    return {"weights": _shape(*packed, dtype=operand_dtype(plan)), "lengths": _shape(sizes.batch, dtype=jnp.int32)}


def _shape(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def resources(plan, sizes):
    """Of a compiled kernel, by cuobjdump: registers of a thread, bytes of stack and of local memory."""
    if plan.backward:
        inputs, outputs = backward_inputs(plan, sizes), backward_outputs(plan, sizes)
    else:
        inputs, outputs = forward_inputs(plan, sizes), forward_outputs(plan, sizes, operand_dtype(plan))
    _, cubin = compile_kernel(plan, sizes, inputs, outputs)
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = ["cuobjdump", "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("REG", "STACK", "LOCAL"))
