"""The machine instructions of the kernels, one function each. Imported only where a kernel is built.

Each function runs while a kernel is traced and puts one PTX instruction into it (PTX ISA, NVIDIA; "§" names its
section). Addresses of shared memory are 32-bit offsets into the block's own; `in_block` makes those of another's.
"""

# pyright: reportMissingImports=false
# The extra `hopper` has these packages; the environment of the checks has not.

from typing import Any

import cutlass
import cutlass.cute as cute
from cutlass import Float32, Uint32

Value = Any  # one of CUTLASS's numbers: a register, once the kernel is compiled
Words = list  # of Uint32

select = cutlass.select_


def _asm(text: str, *read: Value, out: Any = None, count: int = 1) -> Any:
    """One instruction; `{w}` and `{r}` stand for brace lists of the outputs and of all that is read."""
    return cute.arch.inline_ptx(text, write_only_types=None if out is None else [out] * count, read_only_args=[*read])


def _list(letter: str, start: int, count: int) -> str:
    return "{" + ",".join(f"{{${letter}{k}}}" for k in range(start, start + count)) + "}"


def load_global(address: Value, count: int, kind: Any = Uint32) -> list[Value]:
    """`count` (1, 2 or 4) words of read-only memory at a 64-bit address."""
    name = "f32" if kind is Float32 else "b32"
    if count == 1:
        return [_asm(f"ld.global.nc.{name} {{$w0}}, [{{$r0}}];", address, out=kind)]
    return list(
        _asm(f"ld.global.nc.v{count}.{name} {_list('w', 0, count)}, [{{$r0}}];", address, out=kind, count=count)
    )


def store_global(address: Value, words: list[Value]) -> None:
    """One, two or four words to a 64-bit address."""
    if len(words) == 1:
        _asm("st.global.b32 [{$r0}], {$r1};", address, *words)
    else:
        _asm(f"st.global.v{len(words)}.b32 [{{$r0}}], {_list('r', 1, len(words))};", address, *words)


def load_shared(address: Value, kind: Any = Uint32) -> list[Value]:
    """Four words of the block's shared memory."""
    name = "f32" if kind is Float32 else "b32"
    return list(_asm(f"ld.shared.v4.{name} {_list('w', 0, 4)}, [{{$r0}}];", address, out=kind, count=4))


def store_shared(address: Value, words: list[Value]) -> None:
    """One, two or four words to the block's shared memory."""
    if len(words) == 1:
        _asm("st.shared.b32 [{$r0}], {$r1};", address, *words)
    else:
        _asm(f"st.shared.v{len(words)}.b32 [{{$r0}}], {_list('r', 1, len(words))};", address, *words)


def in_block(address: Value, rank: int) -> Value:
    """The same place in the shared memory of block `rank` of the cluster (§ mapa)."""
    return _asm("mapa.shared::cluster.u32 {$w0}, {$r0}, {$r1};", address, Uint32(rank), out=Uint32)


def send(address: Value, words: list[Value], barrier: Value) -> None:
    """Stores words in a block of the cluster; as they land, its barrier counts their bytes (§ st.async)."""
    vector, operands = ("", "{$r2}") if len(words) == 1 else (f".v{len(words)}", _list("r", 2, len(words)))
    text = f"st.async.shared::cluster.mbarrier::complete_tx::bytes{vector}.b32 [{{$r0}}], {operands}, [{{$r1}}];"
    _asm(text, address, barrier, *words)


def start_barrier(barrier: Value, when: Value) -> None:
    """Where `when` is 1: a barrier whose phases end with one arrival and the bytes that it announced (§ mbarrier)."""
    text = "{ .reg .pred p; setp.eq.u32 p, {$r1}, 1; @p mbarrier.init.shared::cta.b64 [{$r0}], 1; }"
    _asm(text, barrier, when)


def expect(barrier: Value, num_bytes: int, when: Value) -> None:
    """Where `when` is 1: the phase's one arrival, announcing `num_bytes`. Predicated, so that a warp stays whole."""
    text = (
        "{ .reg .pred p; .reg .b64 state; setp.eq.u32 p, {$r2}, 1;"
        " @p mbarrier.arrive.expect_tx.shared::cta.b64 state, [{$r0}], {$r1}; }"
    )
    _asm(text, barrier, Uint32(num_bytes), when)


def wait(barrier: Value, parity: Value) -> None:
    """Until the phase of this parity has ended; what was sent in it can then be read (§ mbarrier.try_wait).

    The scope is the cluster, as the stores come from other blocks. The lanes of a warp may leave the loop one by one,
    and what follows takes the whole warp: hence the last line.
    """
    text = (
        "{ .reg .pred done; again: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [{$r0}], {$r1};"
        " @!done bra again; bar.warp.sync 0xffffffff; }"
    )
    _asm(text, barrier, parity)


def load_matrix(address: Value) -> Words:
    """A 16-row left operand, K_BYTES wide: lane l points at row l mod 16, half l div 16 (§ ldmatrix)."""
    text = f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {_list('w', 0, 4)}, [{{$r0}}];"
    return list(_asm(text, address, out=Uint32, count=4))


def multiply(sums: list[Value], a: Words, b: Words, *, narrow: bool) -> list[Value]:
    """Sums `[16, 8]` plus a b, of bfloat16 operands (`narrow`) or TF32 ones (§ mma)."""
    shape = "m16n8k16.row.col.f32.bf16.bf16.f32" if narrow else "m16n8k8.row.col.f32.tf32.tf32.f32"
    text = f"mma.sync.aligned.{shape} {_list('w', 0, 4)}, {_list('r', 0, 4)}, {_list('r', 4, 2)}, {_list('r', 6, 4)};"
    return list(_asm(text, *a, *b, *sums, out=Float32, count=4))


def rounded(a: Value, b: Value, *, narrow: bool) -> Words:
    """Two operands as words: one of two bfloat16, the first in the lower half, or two of TF32."""
    if narrow:
        return [_asm("cvt.rn.bf16x2.f32 {$w0}, {$r1}, {$r0};", a, b, out=Uint32)]
    return [_asm("cvt.rna.tf32.f32 {$w0}, {$r0};", x, out=Uint32) for x in (a, b)]


def widened(words: Words) -> list[Value]:
    """Back from words to float32, two numbers: of one word two bfloat16, of two words the float32 they are."""
    if len(words) == 1:
        words = [words[0] << 16, words[0] & Uint32(0xFFFF0000)]
    return [_asm("mov.b32 {$w0}, {$r0};", word, out=Float32) for word in words]


def bits(x: Value) -> Value:
    """The word that a float32 is."""
    return _asm("mov.b32 {$w0}, {$r0};", x, out=Uint32)


class Approximate:
    """tanh in one instruction, relative error 2^-11: below the rounding of bfloat16 operands, 2^-9."""

    @staticmethod
    def tanh(x: Value) -> Value:
        """Hyperbolic tangent."""
        return _asm("tanh.approx.f32 {$w0}, {$r0};", x, out=Float32)

    @staticmethod
    def sigmoid(x: Value) -> Value:
        """The logistic function, ½ + ½ tanh(x/2)."""
        return Approximate.tanh(x * 0.5) * 0.5 + 0.5


class Exact:
    """To about 2^-22 absolute, by two instructions."""

    @staticmethod
    def sigmoid(x: Value) -> Value:
        """The logistic function, 1/(1 + 2^(-x log2 e))."""
        e = _asm("ex2.approx.ftz.f32 {$w0}, {$r0};", x * -1.4426950408889634, out=Float32)
        return _asm("rcp.approx.ftz.f32 {$w0}, {$r0};", e + 1.0, out=Float32)

    @staticmethod
    def tanh(x: Value) -> Value:
        """Hyperbolic tangent, 2 σ(2x) - 1."""
        return Exact.sigmoid(x * 2.0) * 2.0 - 1.0
