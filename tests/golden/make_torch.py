"""Writes torch.npz: what PyTorch computes, for machines without it. Run by hand; the file is kept in git.

Names are `{layer}/{what}`, all in float64: `weight_ih_l0` and so on, `x`, `lengths`, the initial state `h_0` (and
`c_0`), the cotangents `d_y`, `d_h_n` (and `d_c_n`), and, under `out.`, outputs, final states and every gradient.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "convert"))
import torch_oracle as oracle

LENGTHS = np.array([4, 1, 6, 2, 6])


def main() -> None:
    rng, arrays = np.random.default_rng(0), {}
    for name in oracle.LAYERS:
        module = oracle.make(name, num_layers=2, bidirectional=True, dtype="float64")
        x, state, d_y, d_state = oracle.draw(rng, module, "float64")
        found = {key: value.numpy() for key, value in module.state_dict().items()}
        found |= {"x": x, "lengths": LENGTHS, "d_y": d_y}
        found |= {f"{part}_0": value for part, value in state.items()}
        found |= {f"d_{part}_n": value for part, value in d_state.items()}
        out = oracle.run(module, x, LENGTHS, state, d_y, d_state)
        found |= {f"out.{key}": value for key, value in out.items()}
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez_compressed(Path(__file__).with_name("torch.npz"), **arrays)


if __name__ == "__main__":
    main()
