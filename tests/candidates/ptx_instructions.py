"""What each PTX instruction does to a warp of `ptx_machine.Machine`, one function for each kind.

All are `(warp, instruction)`; `find` looks one up by the opcode. The matrix instructions follow the fragments that the
PTX ISA draws; nothing is known that the library's kernels do not use.
"""

import re

import numpy as np

LANES = 32
SHARED_BASE = 1024  # where a block's dynamic shared memory starts
GLOBAL_BASE = 4096  # where the arrays start
RANK_SHIFT = 24  # an address in another block of the cluster has its rank, plus one, above this bit


def check(address, size, end):
    assert SHARED_BASE <= address <= end - size, f"shared memory has no address {address}"
    assert address % size == 0, f"{size} bytes at {address} are not aligned"


_KINDS = {"b": "u", "u": "u", "s": "i", "f": "f"}


def _dtype(name):
    return f"{_KINDS[name[0]]}{int(name[1:]) // 8}"


def _arithmetic(function, count):
    def run(w, i):
        with np.errstate(all="ignore"):
            w.write(
                i.operands[0],
                function(*(w.read(o, _dtype(i.type)) for o in i.operands[1 : 1 + count])).astype(_dtype(i.type)),
            )

    return run


def _wide(function):
    def run(w, i):
        wide = "i8" if i.type == "s32" else "u8"
        operands = [w.read(o, _dtype(i.type)).astype(wide) for o in i.operands[1:3]]
        operands += [w.read(o, wide) for o in i.operands[3:]]
        w.write(i.operands[0], function(*operands))

    return run


def _shift_right(a, b):
    return np.where(
        b < 8 * a.dtype.itemsize, a >> np.minimum(b, 8 * a.dtype.itemsize - 1), a >> (8 * a.dtype.itemsize - 1)
    )


def _upper_half(a, b):
    return a.astype(f"{a.dtype.kind}8") * b.astype(f"{b.dtype.kind}8") >> 8 * a.itemsize


def _fma(a, b, c):
    return a.astype("f8") * b + c


def _setp(w, i):
    compare = {
        "eq": np.equal,
        "ne": np.not_equal,
        "lt": np.less,
        "le": np.less_equal,
        "gt": np.greater,
        "ge": np.greater_equal,
    }
    compare |= {"lo": np.less, "hi": np.greater, "ls": np.less_equal, "hs": np.greater_equal}
    w.write(i.operands[0], compare[i.parts[1]](*(w.read(o, _dtype(i.type)) for o in i.operands[1:3])))


def _selp(w, i):
    a, b = (w.read(o, _dtype(i.type)) for o in i.operands[1:3])
    w.write(i.operands[0], np.where(w.read(i.operands[3], bool), a, b))


def _predicates(function):
    def run(w, i):
        w.write(i.operands[0], function(*(w.read(o, bool) for o in i.operands[1:])))

    return run


def _mov(w, i):
    if i.type == "pred":
        w.write(i.operands[0], w.read(i.operands[1], bool))
    else:
        w.write(i.operands[0], w.read(i.operands[1], _dtype(i.type)))


def _bfloat16(x):
    u = x.view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint32)


def _cvt(w, i):
    if "bf16x2" in i.parts:
        high, low = (_bfloat16(w.read(o, "f4")) for o in i.operands[1:])
        w.write(i.operands[0], high << 16 | low)
    elif "tf32" in i.parts:  # to nearest, halves away from zero
        w.write(i.operands[0], (w.read(i.operands[1], "u4") + 0x1000) & np.uint32(0xFFFFE000))
    else:
        to, source = i.parts[-2:]
        w.write(i.operands[0], w.read(i.operands[1], _dtype(source)).astype(_dtype(to)))


def _bra(w, i):
    w.pc[w.mask] = i.operands[0]


def _ret(w, _):
    w.done |= w.mask


def _words(operand):
    return operand if isinstance(operand, list) else [operand]


def _load(w, i):
    space = next(s for s in ("param", "global", "shared") if s in i.parts)
    if space == "param":
        number = int(re.search(r"_param_(\d+)", i.operands[1])[1])
        w.write(i.operands[0], np.full(LANES, w.machine.parameters[number], "u8"))
        return
    memory = w.machine.memory if space == "global" else w.block.shared
    names, address = _words(i.operands[0]), w.address(i.operands[1])
    _check_all(w, address, 4 * len(names), memory.size, space)
    for k, name in enumerate(names):
        at = np.where(w.mask, address + 4 * k, GLOBAL_BASE if space == "global" else SHARED_BASE)[:, None] + np.arange(
            4
        )
        w.write(name, memory[at].view(np.uint32)[:, 0])


def _check_all(w, address, size, end, space):
    first = GLOBAL_BASE if space == "global" else SHARED_BASE
    assert np.all((address[w.mask] >= first) & (address[w.mask] + size <= end)), f"no such address in {space} memory"
    assert np.all(address[w.mask] % size == 0), f"{size} bytes in {space} memory are not aligned"


def _store(w, i):
    space = "global" if "global" in i.parts else "shared"
    memory = w.machine.memory if space == "global" else w.block.shared
    names, address = _words(i.operands[1]), w.address(i.operands[0])
    _check_all(w, address, 4 * len(names), memory.size, space)
    for k, name in enumerate(names):
        at = (address + 4 * k)[w.mask][:, None] + np.arange(4)
        memory[at] = w.read(name, "u4")[w.mask, None].view(np.uint8)


def _mapa(w, i):
    w.write(i.operands[0], w.read(i.operands[1], "u4") + ((w.read(i.operands[2], "u4") + 1) << RANK_SHIFT))


def _st_async(w, i):
    data = np.stack([w.read(name, "u4") for name in _words(i.operands[1])], axis=1).view(np.uint8)
    address, barrier = w.address(i.operands[0]), w.address(i.operands[2])
    rank = (address >> RANK_SHIFT) - 1
    assert np.array_equal(rank, (barrier >> RANK_SHIFT) - 1), "data and barrier in different blocks"
    low = (1 << RANK_SHIFT) - 1
    lanes = w.machine.random.permutation(LANES)
    half = LANES // 2
    for part in (lanes[:half], lanes[half:]):  # may arrive apart
        w.machine.in_flight.append([(rank[k], address[k] & low, data[k], barrier[k] & low) for k in part if w.mask[k]])


def _mbarrier(w, i):
    barriers = w.block.barriers
    lanes = np.flatnonzero(w.mask)
    if "init" in i.parts:
        (lane,) = lanes
        w.block.start_barrier(w.address(i.operands[0])[lane], int(w.read(i.operands[1], "u4")[lane]))
    elif "arrive" in i.parts:
        for lane in lanes:
            barriers[w.address(i.operands[1])[lane]].change(1, int(w.read(i.operands[2], "u4")[lane]))
    else:  # try_wait.parity
        (address,) = set(w.address(i.operands[1]))
        (parity,) = set(w.read(i.operands[2], "u4"))
        barrier = barriers[address]
        ended = barrier.phase % 2 != parity
        w.write(i.operands[0], np.full(LANES, ended))
        if not ended:
            w.blocked = lambda: barrier.phase % 2 != parity


def _meet(w, i):
    cluster = "cluster" in i.parts
    warps = w.machine.warps if cluster else w.block.warps
    arrived = w.machine.arrived
    key = "cluster" if cluster else "block"
    if not cluster or "arrive" in i.parts:
        arrived[w, key] = arrived.get((w, key), 0) + 1
    if not cluster or "wait" in i.parts:
        turn = arrived[w, key]
        w.blocked = lambda: all(other.done.all() or arrived.get((other, key), 0) >= turn for other in warps)


def _ldmatrix(w, i):
    address = w.address(i.operands[1])
    _check_all(w, address, 16, w.block.shared.size, "shared")
    rows = w.block.shared[address[:, None] + np.arange(16)].view(np.uint32)  # [lane, 4 words], of matrix lane // 8
    for k, name in enumerate(i.operands[0]):
        w.write(name, rows[8 * k : 8 * k + 8].reshape(-1))  # lane 4 g + q has word q of row g


def _halves(words):
    """Two bfloat16 in each word, `[..., 2]`, as float64."""
    return np.stack([words << 16, words & np.uint32(0xFFFF0000)], axis=-1).view(np.float32).astype(np.float64)


def _mma(w, i):
    d, a, b, c = i.operands
    a, b = (np.stack([w.read(name, "u4") for name in names]).reshape(-1, 8, 4) for names in (a, b))  # [word, group, q]
    c = np.stack([w.read(name, "f4") for name in c]).reshape(2, 2, 8, 4)  # [row half, column, group, q]
    if "bf16" in i.parts:
        left, right = _halves(a), _halves(b)
    else:  # TF32 has 10 bits of fraction: the hardware reads no others
        left, right = ((x & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)[..., None] for x in (a, b))
    left = left.reshape(2, 2, 8, 4, -1).transpose(1, 2, 0, 3, 4).reshape(16, -1)  # words: k half, row half -> [row, k]
    right = right.transpose(0, 2, 3, 1).reshape(-1, 8)  # [k, column]
    total = (left @ right).reshape(2, 8, 4, 2).transpose(0, 3, 1, 2) + c
    for name, value in zip(d, total.reshape(4, LANES).astype(np.float32), strict=True):
        w.write(name, value)


def _shfl(w, i):
    source = w.read(i.operands[2], "u4") % LANES
    w.write(i.operands[0].split("|")[0], w.read(i.operands[1], "u4")[source])


def _unary(function):
    def run(w, i):
        with np.errstate(all="ignore"):
            w.write(i.operands[0], function(w.read(i.operands[1], "f4").astype(np.float64)).astype(np.float32))

    return run


def _nothing(w, i):
    pass


_FUNCTIONS = {
    "add": _arithmetic(np.add, 2),
    "sub": _arithmetic(np.subtract, 2),
    "mul.wide": _wide(np.multiply),
    "mad.wide": _wide(lambda a, b, c: a * b + c),
    "mul.hi": _arithmetic(_upper_half, 2),
    "mul": _arithmetic(np.multiply, 2),
    "mad.lo": _arithmetic(lambda a, b, c: a * b + c, 3),
    "fma": _arithmetic(_fma, 3),
    "neg": _arithmetic(np.negative, 1),
    "min": _arithmetic(np.minimum, 2),
    "max": _arithmetic(np.maximum, 2),
    "and.pred": _predicates(np.logical_and),
    "or.pred": _predicates(np.logical_or),
    "not.pred": _predicates(np.logical_not),
    "and": _arithmetic(np.bitwise_and, 2),
    "or": _arithmetic(np.bitwise_or, 2),
    "xor": _arithmetic(np.bitwise_xor, 2),
    "not": _arithmetic(np.invert, 1),
    "shl": _arithmetic(np.left_shift, 2),
    "shr": _arithmetic(_shift_right, 2),
    "setp": _setp,
    "selp": _selp,
    "mov": _mov,
    "cvt": _cvt,
    "bra": _bra,
    "ret": _ret,
    "ld": _load,
    "st.async": _st_async,
    "st": _store,
    "mapa": _mapa,
    "mbarrier": _mbarrier,
    "fence": _nothing,
    "bar.warp": _nothing,
    "bar": _meet,
    "barrier": _meet,
    "ldmatrix": _ldmatrix,
    "mma": _mma,
    "shfl": _shfl,
    "tanh": _unary(np.tanh),
    "ex2": _unary(np.exp2),
    "rcp": _unary(np.reciprocal),
}


def find(instruction):
    for name, run in _FUNCTIONS.items():
        wanted = name.split(".")
        if instruction.parts[0] == wanted[0] and (len(wanted) == 1 or wanted[1] in instruction.parts):
            return run
    raise NotImplementedError(f"PTX instruction {instruction.text!r}")
