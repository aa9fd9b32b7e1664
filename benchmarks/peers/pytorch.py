"""`torch.nn.LSTM`, `GRU` and `RNN`, on padded and on packed sequences."""

from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.device import torch_device
from benchmarks.peers.ours import make_layer, matrices
from benchmarks.peers.runner import Runner
from jaxrnn import convert


def make_padded(case: Case) -> Runner:
    """Runs over the padding. Where there is some, its backward direction starts in it: another function than ours."""
    return _make(case, packed=False)


def make_packed(case: Case) -> Runner:
    """`pack_padded_sequence`, as the reference program does: the function that ours is."""
    return _make(case, packed=True)


def make_module(case: Case) -> Any:
    """PyTorch's layer with the case's weights."""
    import torch

    types = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}
    module = types[case.cell](case.features, case.hidden, case.layers, bidirectional=case.directions == 2)
    weights = convert.to_torch(make_layer(case))
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return module.to(torch_device())


def _make(case: Case, *, packed: bool) -> Runner:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    device = torch_device()
    module = make_module(case)
    x, d_y = (torch.from_numpy(a).to(device) for a in case.draw_inputs())
    lengths = torch.from_numpy(case.draw_lengths()).long()  # PyTorch wants them on the CPU
    x.requires_grad_(True)

    def run() -> Any:
        # A bfloat16 copy of the weights is made in every pass, as in a step of training.
        with torch.autocast(device, torch.bfloat16, enabled=case.dtype == "bfloat16"):
            if not packed:
                return module(x)[0]
            y, _ = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
            return pad_packed_sequence(y, total_length=case.time)[0]

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def forward() -> Any:
        module.eval()  # cuDNN has another kernel for training
        with torch.no_grad():
            y = run()
        wait()
        return y

    def train() -> None:
        module.train()
        module.zero_grad()
        x.grad = None
        y = run()
        y.backward(d_y.to(y.dtype))
        wait()

    def gradients(_: None) -> dict[str, np.ndarray]:
        layer = make_layer(case)
        convert.from_torch(layer, {name: weight.grad.float().cpu() for name, weight in module.named_parameters()})
        return matrices(layer)

    return Runner(forward, train, lambda y: y.float().cpu().numpy(), gradients, {})
