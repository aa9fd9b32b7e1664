"""Training goes as the PyTorch reference program's: the same losses and weights, step after step."""

import numpy as np
import optax
import pytest
from classifier_cases import make

from jaxrnn import convert
from jaxrnn.applications.classification.task import classification_task
from jaxrnn.data import BucketedBatches, Columns, Ragged
from jaxrnn.training import TrainState, make_train_step, split_model

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

VOCABULARY, FEATURES, HIDDEN = 30, 6, 8


class Reference(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, FEATURES, padding_idx=1)
        self.lstm = torch.nn.LSTM(FEATURES, HIDDEN, num_layers=2, bidirectional=True)
        self.fc = torch.nn.Linear(2 * HIDDEN, 1)

    def forward(self, tokens, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(self.embedding(tokens), lengths, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), 1))[:, 0]


def test_forty_steps_of_adam(rng):
    torch.manual_seed(0)
    reference = Reference()
    model = make(
        vocabulary_size=VOCABULARY,
        num_classes=2,
        embedding=FEATURES,
        hidden=HIDDEN,
        dropout_rate=0.0,
        init="torch",
        double_bias=True,
    )
    convert.from_torch(model, reference.state_dict())
    token_ids = [rng.integers(2, VOCABULARY, n).astype(np.int32) for n in rng.integers(1, 150, 64)]
    labels = np.array([np.mean(ids) > VOCABULARY / 2 for ids in token_ids], np.int32)
    examples = Columns({"tokens": Ragged(token_ids, padding=1), "label": labels}, bucket_by="tokens")
    batches = BucketedBatches(examples, boundaries=(150,), batch_size=8, seed=0)

    split = split_model(model)
    optimizer = optax.adam(1e-2)
    step = make_train_step(split, optimizer, seed=0, task=classification_task())
    state = TrainState.initial(split.parameters, optimizer)
    adam = torch.optim.Adam(reference.parameters(), lr=1e-2)

    ours, theirs = [], []
    for epoch in range(5):
        for batch in batches.epoch(epoch):
            state, sums, _ = step(state, batch)
            ours.append(float(sums["loss"]) / int(sums["count"]))
            tokens, lengths = batch.arrays["tokens"]
            logits = reference(torch.from_numpy(tokens.T).long(), torch.from_numpy(lengths).long())
            targets = torch.from_numpy(batch.arrays["label"]).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
            adam.zero_grad()
            loss.backward()
            adam.step()
            theirs.append(loss.item())
    assert len(ours) == 40
    assert theirs[-1] < 0.9 * theirs[0]  # something was learnt on the way
    # Rounding grows from step to step: Adam divides by the root of small second moments.
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    np.testing.assert_allclose(ours[:10], theirs[:10], rtol=1e-5)
    trained = convert.to_torch(split.merge(state.parameters, split.rest))
    for name, value in reference.state_dict().items():
        np.testing.assert_allclose(trained[name], value.numpy(), rtol=0, atol=2e-3, err_msg=name)
