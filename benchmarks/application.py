"""A training step of the reference application against the same program in PyTorch, as it is usually written.

Synthetic token numbers with the lengths of IMDB's buckets; everything else is as in `configs/imdb_bilstm.toml`.
"""

import contextlib
import time
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from timing import interleaved

from jaxrnn.data import BucketedBatches, choose_boundaries
from jaxrnn.models import TextClassifier
from jaxrnn.training import TrainState, make_train_step, split_model

VOCABULARY, FEATURES, HIDDEN, BATCH = 25_002, 100, 256, 64


def texts(num_texts: int, *, median: int = 210, longest: int = 1000) -> tuple[list[np.ndarray], np.ndarray]:
    """Token numbers of texts as long as reviews are (log-normal, σ 0.6), and labels."""
    rng = np.random.default_rng(0)
    lengths = np.clip(median * rng.lognormal(0, 0.6, num_texts), 10, longest).astype(int)
    return [rng.integers(2, VOCABULARY, n).astype(np.int32) for n in lengths], rng.integers(0, 2, num_texts)


def measure(*, seconds: float, num_batches: int = 6, packed: bool = True) -> dict[str, Any]:
    """Seconds for the same few batches of an epoch, and tokens a second, of both programs."""
    token_ids, labels = texts(40 * BATCH)
    boundaries = choose_boundaries([len(ids) for ids in token_ids], batch_size=BATCH, max_shapes=12)
    batches = BucketedBatches(token_ids, labels.astype(np.int32), boundaries=boundaries, batch_size=BATCH, seed=0)
    epoch = [batch for batch in batches.epoch(0) if batch.weights.all()]  # PyTorch cannot pack rows of length 0
    chosen = [epoch[k] for k in np.linspace(0, len(epoch) - 1, num_batches).astype(int)]
    tokens = int(sum(batch.lengths.sum() for batch in chosen))

    programs = {"jaxrnn": _jaxrnn(chosen)}
    with contextlib.suppress(ImportError):
        programs |= _torch(chosen, packed=packed)
    taken = interleaved(programs, seconds=seconds, min_turns=3)
    start = time.perf_counter()
    count = sum(1 for _ in batches.epoch(1))
    pipeline = (time.perf_counter() - start) / count * num_batches
    return {
        "tokens": tokens,
        "seconds": taken,
        "tokens_per_second": {name: tokens / row["median"] for name, row in taken.items()},
        "input_pipeline_share": pipeline / taken["jaxrnn"]["median"],
    }


def _jaxrnn(batches: list) -> Any:
    model = TextClassifier(
        vocabulary_size=VOCABULARY,
        num_classes=2,
        embedding_features=FEATURES,
        cell="lstm",
        hidden_features=HIDDEN,
        num_layers=2,
        bidirectional=True,
        dropout_rate=0.5,
        pooling="last",
        init="torch",
        double_bias=True,
        rngs=nnx.Rngs(0),
    )
    split = split_model(model)
    optimizer = optax.adam(1e-3)
    step = make_train_step(split, optimizer, seed=0)
    state = TrainState.initial(split.parameters, optimizer)

    def run() -> None:
        nonlocal state
        for batch in batches:
            state, _ = step(state, batch)
        jax.block_until_ready(state)

    return run


def _torch(batches: list, *, packed: bool) -> dict[str, Any]:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    device = "cuda" if torch.cuda.is_available() else "cpu"

    class Program(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCABULARY, FEATURES, padding_idx=1)
            self.lstm = torch.nn.LSTM(FEATURES, HIDDEN, num_layers=2, bidirectional=True, dropout=0.5)
            self.fc = torch.nn.Linear(2 * HIDDEN, 1)
            self.dropout = torch.nn.Dropout(0.5)

        def forward(self, tokens: Any, lengths: Any, packed: bool) -> Any:
            x = self.dropout(self.embedding(tokens))
            x = pack_padded_sequence(x, lengths, enforce_sorted=False) if packed else x
            _, (hidden, _) = self.lstm(x)
            return self.fc(self.dropout(torch.cat((hidden[-2], hidden[-1]), 1)))[:, 0]

    def make(packed: bool) -> Any:
        torch.manual_seed(0)
        program = Program().to(device)
        optimizer = torch.optim.Adam(program.parameters())
        loss = torch.nn.BCEWithLogitsLoss()

        def run() -> None:
            for batch in batches:
                tokens = torch.from_numpy(batch.tokens.T.copy()).long().to(device)
                logits = program(tokens, torch.from_numpy(batch.lengths).long(), packed)
                value = loss(logits, torch.from_numpy(batch.labels).float().to(device))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    programs = {"PyTorch padded": make(False)}
    return programs | ({"PyTorch packed": make(True)} if packed else {})
