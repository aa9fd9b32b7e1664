"""What each run measures, the most important first: a run that is out of time leaves out the last."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from benchmarks import growth, layer, start
from benchmarks.cases import Case
from benchmarks.memory import peak_mib
from benchmarks.peers import BACKENDS, PEERS, SCANS
from benchmarks.peers.ours import chosen

REFERENCE = Case()  # the layer of the reference application
TINY = Case(batch=3, time=6, features=4, hidden=8, layers=1)
PADDED, PACKED, PLAIN = "PyTorch padded", "PyTorch packed", "plain lax.scan"


class Job(NamedTuple):
    """One measurement; its result is added to the list of its part."""

    part: str
    name: str
    run: Callable[[], dict[str, Any]]


class Preset(NamedTuple):
    """Measurements in their order, and the seconds after which none is begun."""

    jobs: list[Job]
    budget: float
    matrix_size: int = 4096


def short(data: str | None) -> Preset:
    """The reference layer and application, on two cores in under 10 minutes."""
    jobs = [
        _layer(REFERENCE, [name for name in PEERS if name != PACKED], 3),
        _layer(_reference(dtype="bfloat16"), ("jaxrnn", PADDED), 5),
        _layer(_reference(lengths="bucketed"), ("jaxrnn", PACKED), 5),  # half a minute a backward pass of the latter
        *(_layer(_reference(lengths=lengths), ("jaxrnn", PADDED), 5) for lengths in ("uniform", "imdb")),
        _application(data, sample=1, packed=True, seconds=10),
        _growth("time", ("jaxrnn",), 3, values=(256, 1024, 4096)),
        _start(),
        *(_memory(REFERENCE, name) for name in ("jaxrnn", PADDED)),
        *(_growth(axis, ("jaxrnn",), 2, with_memory=False) for axis in ("lengths", "hidden", "batch", "layers")),
    ]
    return Preset(jobs, budget=510)


def full(data: str | None) -> Preset:
    """Everything, in an hour or two."""
    grid = [
        _reference(cell=cell, dtype=dtype, lengths=lengths)
        for lengths in ("full", "bucketed", "uniform", "imdb")
        for dtype in ("float32", "bfloat16")
        for cell in ("lstm", "gru", "elman")
    ]
    shapes = [
        Case(batch=batch, time=time, features=features, hidden=hidden, layers=layers, directions=directions)
        for batch, time, features, hidden, layers, directions in (
            (1, 256, 100, 256, 1, 1),
            (16, 1024, 64, 128, 1, 1),
            (64, 128, 512, 512, 1, 1),
            (256, 64, 100, 256, 1, 2),
            (32, 256, 256, 1024, 1, 1),
        )
    ]
    every = list(PEERS)
    # Its backward pass takes half a minute here: in float32, where a target speaks of it, and nowhere else.
    unpacked = [name for name in PEERS if name != PACKED]
    jobs = [
        *(
            _layer(c, every if c in (_reference(lengths="bucketed"), _reference(lengths="imdb")) else unpacked, 20)
            for c in grid
        ),
        _padding(REFERENCE, 20),
        _application(data, sample=6, packed=False, seconds=60),
        _application(data, sample=3, packed=True, seconds=30),
        _start(),
        *(_memory(_reference(lengths=lengths), name) for lengths in ("full", "imdb") for name in unpacked),
        *(_growth(axis, ("jaxrnn", PADDED), 10) for axis in growth.SWEEPS if axis != "lengths"),
        _growth("lengths", ("jaxrnn", PADDED), 10, base=REFERENCE),  # large enough to leave out rows that have ended
        *(_layer(case, unpacked, 10) for case in shapes),
    ]
    return Preset(jobs, budget=3 * 3600)


def gpu(data: str | None) -> Preset:
    """Each backend of our layer against PyTorch with cuDNN, from the reference layer outwards.

    What fits into 8 minutes; the same command with `--continue` goes on with the rest of the grid.
    """
    del data
    grid = [
        Case(cell=cell, batch=batch, time=time, hidden=hidden, layers=d, directions=d, lengths=lengths, dtype=dtype)
        for cell, batch, time, hidden, d, lengths, dtype in product(
            ("lstm", "gru"),
            (64, 16, 256),
            (256, 1024),
            (256, 512, 128, 1024, 384),
            (2, 1),
            ("full", "imdb"),
            ("float32", "bfloat16"),
        )
    ]
    grid.sort(key=_distance)
    reference = [_reference(dtype=dtype) for dtype in ("float32", "bfloat16")]
    backends = [name for name in BACKENDS if name != "jaxrnn reference"]
    jobs = [_layer(case, ("jaxrnn", *backends, PLAIN, PADDED, PACKED), 1.0, with_products=False) for case in reference]
    jobs += [_layer(case, _gpu_peers(case), 0.3, with_products=False) for case in grid if case not in reference]
    jobs[10:10] = [
        Job(
            "scans", case.name, partial(layer.measure, case, peers=("jaxrnn", *SCANS), seconds=0.5, with_products=False)
        )
        for case in (REFERENCE, _reference(layers=1, directions=1))
    ]
    jobs[20:20] = [_memory(REFERENCE, name) for name in ("jaxrnn", PADDED)]
    return Preset(jobs, budget=420)


def _distance(case: Case) -> int:
    """In how much a case differs from the reference layer; layers and directions count as one."""
    return sum(a != b for a, b in zip(case._replace(directions=2), REFERENCE, strict=True))


def _gpu_peers(case: Case) -> tuple[str, ...]:
    """Ours, each other backend of ours for a GPU, and PyTorch."""
    others = [name for name in BACKENDS if name not in ("jaxrnn reference", f"jaxrnn {chosen(case).name}")]
    return ("jaxrnn", *others, PADDED, *([] if case.lengths == "full" else [PACKED]))


def smoke(data: str | None) -> Preset:
    """Every kind of measurement once, as small as can be: whether all of it runs to its end."""
    del data
    narrow = ("model.hidden=4", "model.embedding=4", "data.max_tokens=12", "train.batch_size=8")
    jobs = [
        _layer(TINY, ("jaxrnn", PADDED), 0),
        _padding(TINY, 0, kinds=("full", "uniform")),
        _application(None, sample=1, packed=True, seconds=0, num_reviews=16, overrides=narrow),
        _growth("time", ("jaxrnn",), 0, base=TINY, values=(4, 8), with_memory=False),
    ]
    return Preset(jobs, budget=3600, matrix_size=64)


PRESETS = {"short": short, "full": full, "gpu": gpu, "smoke": smoke}


def _reference(**changes: Any) -> Case:
    return REFERENCE._replace(**changes)


def _layer(case: Case, peers: Iterable[str], seconds: float, **options: Any) -> Job:
    return Job("layer", case.name, partial(layer.measure, case, peers=peers, seconds=seconds, **options))


def _padding(case: Case, seconds: float, **options: Any) -> Job:
    return Job("padding", f"lengths of {case.name}", partial(growth.measure_padding, case, seconds=seconds, **options))


def _application(data: str | None, *, sample: int, packed: bool, seconds: float, **options: Any) -> Job:
    def run() -> dict[str, Any]:
        from benchmarks import application  # the trainer and its packages, which the layer does without

        epoch = application.make_epoch(data=data, sample=sample, **options)
        return application.measure(epoch, packed=packed, seconds=seconds)

    return Job("application", f"application, {sample} batches{', packed too' if packed else ''}", run)


def _growth(axis: str, peers: tuple[str, ...], seconds: float, **options: Any) -> Job:
    return Job("growth", f"growth with {axis}", partial(growth.measure, axis, peers=peers, seconds=seconds, **options))


def _start() -> Job:
    return Job("start", "start", start.measure)


def _memory(case: Case, peer: str) -> Job:
    def run() -> dict[str, Any]:
        mib = {name: peak_mib(case, peer, name) for name in layer.PASSES}
        return {"name": case.name, "peer": peer, "mib": mib}

    return Job("memory", f"memory of {peer}, {case.name}", run)
