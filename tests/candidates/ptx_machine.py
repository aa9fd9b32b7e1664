"""Runs the PTX of a compiled kernel on the CPU: thread blocks, clusters, shared memory, barriers, tensor cores.

A machine without a GPU can so check what the compiler really made of a kernel: every address, every fragment of every
matrix instruction, every count on a barrier. It knows the instructions that the library's kernels are made of, after
the PTX ISA's descriptions of them, and refuses any other.

Warps take turns in random order, a random number of instructions each, and what one block sends to another arrives in
random order and late. All memory that nothing has written is NaN. So a missing barrier, a buffer used again too early
or an element never written shows as a wrong number, and a lost wake-up as `Stuck`. What it cannot show is what hardware
does beyond the ISA's text, and time.
"""

import re

import numpy as np
from ptx_instructions import GLOBAL_BASE, LANES, SHARED_BASE, check, find

CHUNK = 200  # a warp runs at most this many instructions before another has its turn


class Stuck(RuntimeError):
    """Every warp waits for something that will not come."""


class Program:
    """One kernel's PTX as a list of statements, with labels resolved and the names of inner scopes made unique."""

    def __init__(self, text):
        text = re.sub(r"//[^\n]*", "", text)
        body = text[text.index("{", text.index(".entry")) + 1 :]
        self.statements, self.labels = [], {}
        scopes, number = [{}], 0
        while scopes:
            body = body.lstrip()
            if body[0] == "{":
                number += 1
                end = _matching(body)
                local = re.findall(r"\.reg\s+\.\w+\s+(\w+)\s*;|(?<![:\w])(\w+):(?!:)", body[:end])
                scopes.append({a or b: f"{a or b}@{number}" for a, b in local})
                body = body[1:]
            elif body[0] == "}":
                scopes.pop()
                body = body[1:]
            elif label := re.match(r"([$\w]+):", body):
                name = scopes[-1].get(label[1], label[1])
                self.labels[name] = len(self.statements)
                body = body[label.end() :]
            else:
                statement, body = body.split(";", 1)
                if not statement.startswith((".reg", ".pragma", ".loc")):
                    self.statements.append(_renamed(statement, scopes[-1]))
        self.code = [Instruction(s, self.labels) for s in self.statements]


def _renamed(statement, names):
    return re.sub(r"(?<![.\w%$])\w+(?![\w.])", lambda m: names.get(m[0], m[0]), statement)


def _matching(body):
    depth = 0
    for k, c in enumerate(body):
        depth += (c == "{") - (c == "}")
        if depth == 0:
            return k
    raise ValueError("PTX ends inside a block")


class Instruction:
    """A statement taken apart: guard, opcode, operands; an operand in braces is a list."""

    def __init__(self, statement, labels):
        match = re.match(r"(?:@(!?)([%\w@]+)\s+)?([\w.:]+)\s*(.*)", " ".join(statement.split()))
        self.negated, self.guard, self.opcode, rest = match.groups()
        self.parts = re.split(r"[.]|::", self.opcode)
        self.operands = [self._operand(o) for o in re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", rest)]
        self.aligned = "aligned" in self.parts or self.opcode.startswith(("shfl.sync", "bar.warp.sync"))
        self.type = next(
            (p for p in reversed(self.parts) if re.fullmatch(r"(b|u|s|f)(16|32|64)|pred|bf16x2|tf32", p)), None
        )
        if self.opcode.startswith("bra"):
            self.operands = [labels[rest.strip()]]
        self.text = statement
        self.run = find(self)

    @staticmethod
    def _operand(text):
        return [part.strip() for part in text[1:-1].split(",")] if text[0] == "{" else text


class Barrier:
    """An mbarrier: a phase ends when the announced arrivals and bytes have all come."""

    def __init__(self, count):
        self.count, self.pending, self.bytes, self.phase = count, count, 0, 0

    def change(self, arrivals, num_bytes):
        self.pending -= arrivals
        self.bytes += num_bytes
        assert self.pending >= 0, "more arrivals than a phase has"
        if self.pending == 0 and self.bytes == 0:
            self.pending, self.phase = self.count, self.phase + 1


class Block:
    def __init__(self, index, rank, shared_bytes):
        self.index, self.rank = index, rank
        self.shared = np.full(SHARED_BASE + shared_bytes, 0xFF, np.uint8)
        self.barriers, self.warps = {}, []

    def start_barrier(self, address, count):
        self.barriers[address] = Barrier(count)


class Warp:
    """32 lanes with registers and a program counter each."""

    def __init__(self, machine, block, number):
        self.machine, self.block = machine, block
        self.thread = np.arange(number * LANES, (number + 1) * LANES, dtype=np.uint32)
        self.pc = np.zeros(LANES, np.int64)
        self.done = np.zeros(LANES, bool)
        self.registers = {}
        self.blocked = None  # what the warp waits for, as a function that says when it has come
        self.mask = np.ones(LANES, bool)

    def read(self, operand, kind):
        """A register, a number or a special register, as 32 values of a NumPy type."""
        kind = np.dtype(kind)
        if operand in self.registers:
            value = self.registers[operand]
            if kind.kind == "b":
                return value
            if value.dtype.itemsize != kind.itemsize:  # the lower part of a wider register
                value = value.astype(f"u{kind.itemsize}")
            return value.view(kind)
        special = {"%tid.x": self.thread, "%laneid": self.thread % LANES, "%cluster_ctarank": self.block.rank}
        special |= dict(zip(("%ctaid.x", "%ctaid.y", "%ctaid.z"), self.block.index, strict=True))
        if operand in special:
            return (
                np.broadcast_to(np.asarray(special[operand], np.uint32), LANES).astype(f"u{kind.itemsize}").view(kind)
            )
        if operand == "__dynamic_shmem__0":
            return np.full(LANES, SHARED_BASE, kind)
        if operand.startswith("0f"):
            return np.full(LANES, int(operand[2:], 16), np.uint32).view(kind)
        return np.full(LANES, int(operand, 0), np.int64).astype(f"u{kind.itemsize}").view(kind)

    def write(self, name, value):
        """To a register, in the lanes that take part."""
        value = np.array(np.broadcast_to(value, LANES))
        if value.dtype != bool:
            value = value.view(f"u{value.dtype.itemsize}")
        if not self.mask.all() and name in self.registers:
            value = np.where(self.mask, value, self.registers[name])
        self.registers[name] = value

    def address(self, operand):
        """`[register+offset]` as 32 unsigned addresses."""
        base, _, offset = operand[1:-1].partition("+")
        base = base.strip()
        wide = base in self.registers and self.registers[base].dtype.itemsize == 8
        value = self.read(base, "u8" if wide else "u4").astype(np.int64)
        return value + (int(offset, 0) if offset else 0)

    def step(self):
        """One instruction, of the lanes that are furthest behind."""
        pc = self.pc[~self.done].min()
        instruction = self.machine.program.code[pc]
        self.mask = (self.pc == pc) & ~self.done
        self.pc[self.mask] += 1
        if instruction.guard:
            self.mask = self.mask & (self.read(instruction.guard, bool) ^ bool(instruction.negated))
        if instruction.aligned and not self.mask.all():
            raise AssertionError(f"only some lanes of a warp reach {instruction.text}")
        if self.mask.any():
            instruction.run(self, instruction)


class Machine:
    """Runs one kernel over a grid. Arrays are given in the kernel's order; those of `outputs` are written."""

    def __init__(self, ptx, *, grid, cluster, threads, shared_bytes, seed=0):
        self.program = Program(ptx)
        self.grid, self.cluster, self.num_warps, self.shared_bytes = grid, cluster, threads // LANES, shared_bytes
        self.random = np.random.default_rng(seed)
        self.in_flight = []

    def __call__(self, inputs, outputs):
        """The outputs, for `outputs` a list of (shape, dtype)."""
        arrays = [np.ascontiguousarray(a) for a in inputs] + [np.empty(shape, dtype) for shape, dtype in outputs]
        self.parameters, end = [], GLOBAL_BASE
        for a in arrays:
            self.parameters.append(end)
            end += -(-a.nbytes // 256) * 256 + 256  # a gap of NaN between them
        self.memory = np.full(end, 0xFF, np.uint8)
        for start, a in list(zip(self.parameters, arrays, strict=True))[: len(inputs)]:
            self.memory[start : start + a.nbytes] = a.reshape(-1).view(np.uint8)
        before = self.memory.copy()
        for z in range(self.grid[2]):
            for y in range(self.grid[1]):
                self._run_cluster(y, z)
        for start, a in zip(self.parameters, arrays, strict=True):  # nothing but outputs is written
            before[start : start + a.nbytes] = self.memory[start : start + a.nbytes]
        for start, a in list(zip(self.parameters, arrays, strict=True))[: len(inputs)]:
            np.testing.assert_array_equal(self.memory[start : start + a.nbytes], a.reshape(-1).view(np.uint8))
        np.testing.assert_array_equal(before, self.memory)
        return [
            self.memory[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
            for start, a in list(zip(self.parameters, arrays, strict=True))[len(inputs) :]
        ]

    def _run_cluster(self, y, z):
        self.blocks = [Block((x, y, z), x, self.shared_bytes) for x in range(self.cluster)]
        warps = [Warp(self, block, w) for block in self.blocks for w in range(self.num_warps)]
        for warp in warps:
            warp.block.warps.append(warp)
        self.warps, self.arrived = warps, {}
        while not all(warp.done.all() for warp in warps):
            ready = [w for w in warps if not w.done.all() and (w.blocked is None or w.blocked())]
            if self.in_flight and (not ready or self.random.random() < 0.3):
                self._deliver(self.in_flight.pop(self.random.integers(len(self.in_flight))))
            elif not ready:
                raise Stuck(f"{sum(not w.done.all() for w in warps)} warps wait")
            else:
                warp = ready[self.random.integers(len(ready))]
                warp.blocked = None
                for _ in range(self.random.integers(1, CHUNK)):
                    warp.step()
                    if warp.blocked is not None or warp.done.all():
                        break
        assert not self.in_flight, "a block ended before all that was sent to it had come"

    def _deliver(self, stores):
        for rank, address, data, barrier in stores:
            block = self.blocks[rank]
            assert not all(w.done.all() for w in block.warps), "sent to a block that has ended"
            check(address, len(data), block.shared.size)
            block.shared[address : address + len(data)] = data
            block.barriers[barrier].change(0, -len(data))
