"""PyTorch's recurrent layers on sequences of different lengths, with all gradients."""

import torch

torch.set_num_threads(1)  # for arrays this small, threads only wait for each other

LAYERS = {
    "lstm": lambda *args, **kwargs: torch.nn.LSTM(*args, **kwargs),
    "gru": lambda *args, **kwargs: torch.nn.GRU(*args, **kwargs),
    "elman_tanh": lambda *args, **kwargs: torch.nn.RNN(*args, nonlinearity="tanh", **kwargs),
    "elman_relu": lambda *args, **kwargs: torch.nn.RNN(*args, nonlinearity="relu", **kwargs),
}
BATCH, TIME, FEATURES, HIDDEN = 5, 6, 3, 4


def make(name, num_layers, bidirectional, dtype, seed=0, *, bias=True, proj_size=0):
    torch.manual_seed(seed)
    options = {"bidirectional": bidirectional, "batch_first": True, "bias": bias}
    if proj_size:  # GRU and RNN refuse even a 0
        options["proj_size"] = proj_size
    module = LAYERS[name](FEATURES, HIDDEN, num_layers, **options)
    return module.to(getattr(torch, dtype))


def draw(rng, module, dtype):
    """x [batch, time, features], the initial state's parts by name, and the cotangents of outputs and final state."""
    directions = 2 if module.bidirectional else 1
    out = module.proj_size or HIDDEN
    widths = {"h": out, "c": HIDDEN} if isinstance(module, torch.nn.LSTM) else {"h": out}
    shapes = {part: (module.num_layers * directions, BATCH, width) for part, width in widths.items()}
    x = rng.normal(size=(BATCH, TIME, FEATURES)).astype(dtype)
    state, d_state = ({part: rng.normal(size=shape).astype(dtype) for part, shape in shapes.items()} for _ in range(2))
    return x, state, rng.normal(size=(BATCH, TIME, directions * out)).astype(dtype), d_state


def run(module, x, lengths, state, d_y, d_state):
    """Outputs, final state and every gradient by name, as NumPy arrays. All lengths are at least 1."""
    module.zero_grad()
    x = torch.tensor(x, requires_grad=True)
    initial = {part: torch.tensor(value, requires_grad=True) for part, value in state.items()}
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    is_lstm = len(initial) == 2
    packed_y, last = module(packed, tuple(initial.values()) if is_lstm else initial["h"])
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_y, batch_first=True, total_length=x.shape[1])
    last = dict(zip(initial, last if is_lstm else (last,), strict=True))
    loss = (y * torch.tensor(d_y)).sum() + sum((last[part] * torch.tensor(d_state[part])).sum() for part in last)
    loss.backward()
    found = {"y": y, "x.grad": x.grad}
    for part in initial:
        found |= {f"{part}_n": last[part], f"{part}_0.grad": initial[part].grad}
    found |= {f"{name}.grad": parameter.grad for name, parameter in module.named_parameters()}
    return {name: value.detach().numpy().copy() for name, value in found.items()}
