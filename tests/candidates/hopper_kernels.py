"""The Hopper kernels compiled as `cutlass_call` compiles them, and their PTX run on the CPU.

    python tests/candidates/hopper_kernels.py benchmarks/results/hopper_kernels.json

lists what every kernel that is served takes of a GPU, in a quarter of an hour on 2 cores.
"""

import json
import multiprocessing
import os
import struct
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import numpy as np
from ptx_machine import Machine

from benchmarks.candidates.hopper.launch import backward_outputs, forward_outputs, launch, states
from benchmarks.candidates.hopper.plan import CELLS, LANES, Plan, Sizes, fits, operand_dtype
from jaxrnn import core
from jaxrnn.core import call


def compile_kernel(plan, sizes, inputs, outputs):
    """The PTX and the machine code for a Hopper GPU, which need not be there.

    `inputs` and `outputs` are shapes and dtypes by name, the recurrence's outputs as wide as the operands. Compiled in
    a process of its own: CUTLASS reads the source of a kernel, and cannot read what the run-time type checks of these
    tests make of it.
    """
    return _elsewhere(_compile, plan, sizes, inputs, outputs)


def _elsewhere(function, *arguments):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _compile(plan, sizes, inputs, outputs):
    with TemporaryDirectory() as folder:
        os.environ |= {"CUTE_DSL_ARCH": "sm_90a", "CUTE_DSL_KEEP": "ptx,cubin", "CUTE_DSL_DUMP_DIR": folder}

        def function(*arrays):  # not a dict, which JAX would sort
            return launch(plan, sizes, operand_dtype(plan), dict(zip(inputs, arrays, strict=True)), outputs)

        jax.jit(function).trace(*inputs.values()).lower(lowering_platforms=("cuda",))
        (ptx,), (cubin,) = Path(folder).glob("*.ptx"), Path(folder).glob("*.cubin")
        return ptx.read_text(), cubin.read_bytes()


def training_step(dtype, platform):
    """The program of a training step of a bidirectional layer by backend="hopper", lowered for a platform."""
    return _elsewhere(_training_step, dtype, platform)


def _training_step(dtype, platform):
    os.environ |= {"CUTE_DSL_ARCH": "sm_90a"}
    call._platform, call._capability = lambda device: "cuda", lambda device: "9.0"
    params = core.LSTMParams(*(_shape(*s, dtype=dtype) for s in ((3, 4, 64), (64, 4, 64), (4, 64))))

    def step(params, x, lengths):
        def loss(params):
            y, _ = core.unroll_layers(core.lstm_cell(), x, [params], lengths=lengths, backend="hopper")
            return (y**2).sum()

        value, gradients = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - (0.1 * g).astype(p.dtype), params, gradients)

    arguments = (params, params), _shape(5, 21, 3), _shape(21, dtype=jnp.int32)
    return jax.jit(step).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


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
    """Of a compiled kernel: registers of a thread, and bytes of its stack, where what they cannot hold is kept.

    The compiler notes both in the binary, for the driver: in the attributes of the section `.nv.info`, which
    `cuobjdump --dump-resource-usage` reads, too.
    """
    if plan.backward:
        inputs, outputs = backward_inputs(plan, sizes), backward_outputs(plan, sizes)
    else:
        inputs, outputs = forward_inputs(plan, sizes), forward_outputs(plan, sizes, operand_dtype(plan))
    _, cubin = compile_kernel(plan, sizes, inputs, outputs)
    found = dict(_attributes(_section(cubin, ".nv.info")))
    return found[REGISTERS], found[STACK]


REGISTERS, STACK = 0x2F, 0x12  # EIATTR_REGCOUNT, EIATTR_MIN_STACK_SIZE


def _section(elf, name):
    start, number, names = (struct.unpack_from(kind, elf, at)[0] for kind, at in (("<Q", 40), ("<H", 60), ("<H", 62)))
    heads = [struct.unpack_from("<IIQQQQ", elf, start + 64 * k) for k in range(number)]
    for at, _, _, _, offset, size in heads:
        first = heads[names][4] + at
        if elf[first : elf.index(b"\0", first)] == name.encode():
            return elf[offset : offset + size]
    raise ValueError(f"no section {name}")


def _attributes(section):
    """Attributes with a value of their own, of which each is of the only function: its number, and the value."""
    at = 0
    while at < len(section):
        kind, attribute, size = struct.unpack_from("<BBH", section, at)
        at += 4
        if kind == 4:
            yield attribute, struct.unpack_from("<I", section, at + size - 4)[0]
            at += size


def table():
    """Of every kernel that is served, forward saving for backward: cluster, threads, registers, stack, shared bytes."""
    sizes = Sizes(time=5, batch=32, reverse=(False, True))
    names = [(name, 2 * k, hidden) for name in CELLS for k in (1, 2) for hidden in range(64, 1025, 64)]
    rows = []
    for name, element_bytes, hidden in (each for each in names if fits(each[0], each[2], each[1])):
        row = {"cell": name, "operands": {2: "bfloat16", 4: "TF32"}[element_bytes], "hidden": hidden}
        for backward in (False, True):
            plan = Plan(name, hidden, element_bytes, backward)
            registers, stack = resources(plan, sizes)
            found = {"registers": registers, "stack_bytes": stack, "shared_bytes": plan.shared_bytes}
            row |= {"cluster": plan.cluster, "threads": plan.threads, "backward" if backward else "forward": found}
        rows.append(row)
    return rows


if __name__ == "__main__":
    lines = ",\n ".join(json.dumps(row) for row in table())
    Path(sys.argv[1]).write_text(f"[{lines}]\n")
