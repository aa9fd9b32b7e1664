"""The layer against its peers: outputs checked equal, then timed in turns."""

import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case
from peers import PEERS, Runner
from timing import interleaved

TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}  # of the largest output; float32 is TF32 on a GPU


def measure(case: Case, *, seconds: float) -> dict[str, Any]:
    """One case: for each peer its times forward and forward + backward, compile times, and its largest difference."""
    runners: dict[str, Runner] = {}
    absent, differences = {}, {}
    ours: np.ndarray | None = None
    valid = np.arange(case.time) < case.draw_lengths()[:, None]
    for peer in PEERS:
        if peer.needs and importlib.util.find_spec(peer.needs) is None:
            absent[peer.name] = f"{peer.needs} is not installed"
            continue
        runner = peer.make(case)
        if runner is None:
            absent[peer.name] = "cannot serve this case"
            continue
        y = np.asarray(runner.forward(), np.float32) * valid[..., None]
        ours = y if ours is None else ours
        differences[peer.name] = float(np.abs(y - ours).max() / np.abs(ours).max())
        # Padded PyTorch starts its backward direction in the padding: another function unless all rows are full.
        comparable = peer.exact_lengths or case.lengths == "full" or case.directions == 1
        if comparable and differences[peer.name] > TOLERANCE[case.dtype]:
            raise AssertionError(f"{case.name}: {peer.name} differs by {differences[peer.name]:.2g}")
        runners[peer.name] = runner
    return {
        "case": case._asdict(),
        "name": case.name,
        "valid_share": float(case.draw_lengths().sum() / (case.batch * case.time)),
        "matmul_flops": case.matmul_flops,
        "forward": interleaved({name: runner.forward for name, runner in runners.items()}, seconds=seconds),
        "train": interleaved({name: runner.train for name, runner in runners.items()}, seconds=seconds),
        "compile_seconds": {name: runner.compile_seconds for name, runner in runners.items()},
        "differences": differences,
        "absent": absent,
    }


def matrix_rates(*, seconds: float) -> dict[str, float]:
    """The machine's own rate of matrix products at 4096³, FLOP/s, by dtype: the limit of all that is measured here."""
    rates = {}
    for dtype in ("float32", "bfloat16"):
        a = jax.random.normal(jax.random.key(0), (4096, 4096)).astype(dtype)
        product = jax.jit(lambda a: jnp.dot(a, a))
        taken = interleaved({"dot": lambda a=a, f=product: jax.block_until_ready(f(a))}, seconds=seconds)
        rates[dtype] = 2 * 4096**3 / taken["dot"]["min"]
    return rates
