"""Training goes as a PyTorch program: the same losses and weights, step after step."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxrnn import convert, nn
from jaxrnn.data import BucketedBatches, Columns, Ragged
from jaxrnn.training import Devices, Measured, Task, TrainState, make_train_step, split_model

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

VOCABULARY, FEATURES, HIDDEN, TIME = 30, 6, 8, 60


class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, FEATURES)
        self.lstm = torch.nn.LSTM(FEATURES, HIDDEN, num_layers=2, bidirectional=True)
        self.fc = torch.nn.Linear(2 * HIDDEN, 1)

    def forward(self, words, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(self.embedding(words), lengths, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), 1))[:, 0]


class Ours(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(VOCABULARY, FEATURES, rngs=rngs)
        self.layer = nn.LSTM(
            FEATURES, HIDDEN, num_layers=2, bidirectional=True, double_bias=True, backend="fused_scan", rngs=rngs
        )
        self.head = nnx.Linear(2 * HIDDEN, 1, rngs=rngs)

    def __call__(self, words):
        _, state = self.layer(self.embedding(words.values), lengths=words.lengths)
        return self.head(jnp.concatenate([state.h[-2], state.h[-1]], 1))[:, 0]


def minimise(network, arrays, weights, carry, rngs):
    losses = optax.sigmoid_binary_cross_entropy(network(arrays["words"]), arrays["label"])
    sums = {"loss": jnp.where(weights > 0, losses, 0).sum(), "count": (weights > 0).sum()}
    return Measured(sums["loss"], sums)


def test_forty_steps_of_adam(rng):
    torch.manual_seed(0)
    theirs, ours = Theirs(), Ours(nnx.Rngs(0))
    convert.from_torch(ours, theirs.state_dict())
    words = [rng.integers(2, VOCABULARY, n).astype(np.int32) for n in rng.integers(1, TIME, 64)]
    labels = np.array([np.mean(ids) > VOCABULARY / 2 for ids in words], np.float32)
    examples = Columns({"words": Ragged(words, padding=1), "label": labels}, bucket_by="words")
    batches = BucketedBatches(examples, boundaries=(TIME,), batch_size=8, seed=0)

    split = split_model(ours)
    optimizer = optax.adam(1e-2)
    step = make_train_step(split, optimizer, 0, task=Task(minimise, None, {}))
    state = TrainState.initial(split.parameters, optimizer).put(split, Devices.of(1))
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-2)

    our_losses, their_losses = [], []
    for epoch in range(5):
        for batch in batches.epoch(epoch):
            state, sums, _ = step(state, batch)
            our_losses.append(float(sums["loss"]) / int(sums["count"]))
            values, lengths = batch.arrays["words"]
            logits = theirs(torch.from_numpy(values.T).long(), torch.from_numpy(lengths).long())
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(batch.arrays["label"]))
            adam.zero_grad()
            loss.backward()
            adam.step()
            their_losses.append(loss.item())
    assert len(our_losses) == 40
    assert their_losses[-1] < 0.9 * their_losses[0]  # something was learnt on the way
    # Rounding grows from step to step: Adam divides by the root of small second moments.
    np.testing.assert_allclose(our_losses, their_losses, rtol=1e-3)
    np.testing.assert_allclose(our_losses[:10], their_losses[:10], rtol=1e-5)
    trained = convert.to_torch(split.merge(state.parameters, split.rest))
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(trained[name], value.numpy(), rtol=0, atol=2e-3, err_msg=name)
