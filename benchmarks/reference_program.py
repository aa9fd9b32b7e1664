"""The reference application in PyTorch: the same model, loss, gradient clipping and optimiser as ours."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from jaxrnn.applications.classification.config import ClassificationConfig
from jaxrnn.data import Batch
from jaxrnn.data.text import Vocabulary


class Classifier(nn.Module):
    """An embedding, a bidirectional LSTM, and a linear layer from its two final states to one logit."""

    def __init__(self, config: ClassificationConfig, num_tokens: int, *, packed: bool):
        super().__init__()
        model = config.model
        self.embedding = nn.Embedding(num_tokens, model.embedding, padding_idx=Vocabulary.pad_id)
        self.lstm = nn.LSTM(
            model.embedding, model.hidden, model.num_layers, bidirectional=True, dropout=model.dropout_rate
        )
        self.fc = nn.Linear(2 * model.hidden, 1)
        self.dropout = nn.Dropout(model.dropout_rate)
        self.packed = packed

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Computes the logits.

        Args:
          tokens: Token numbers, `[time, batch]`.
          lengths: Tokens of each text, on the CPU and at least 1, `[batch]`.

        Returns:
          The logits, `[batch]`.
        """
        x = self.dropout(self.embedding(tokens))
        if self.packed:
            x = pack_padded_sequence(x, lengths, enforce_sorted=False)
        _, (hidden, _) = self.lstm(x)
        return self.fc(self.dropout(torch.cat((hidden[-2], hidden[-1]), dim=1)))[:, 0]


class Program:
    """A classifier with its optimiser."""

    def __init__(self, config: ClassificationConfig, weights: dict[str, Any], *, packed: bool, device: str):
        self.model = Classifier(config, len(weights["embedding.weight"]), packed=packed)
        self.model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        self.model.to(device)
        self.device = device
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.optim.learning_rate)
        self.max_grad_norm = config.optim.max_grad_norm

    def loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mean cross-entropy and the logits of a batch."""
        values, lengths = batch.arrays["tokens"]
        tokens = torch.from_numpy(values.T).to(self.device, torch.long)
        logits = self.model(tokens, torch.from_numpy(lengths).long())
        labels = torch.from_numpy(batch.arrays["label"]).to(self.device, torch.float32)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels), logits

    def train(self, batches: Iterable[Batch]) -> float:
        """Trains one step per batch; returns the sum of the losses, each of which is read as if it were printed."""
        self.model.train()
        total = 0.0
        for batch in batches:
            loss, _ = self.loss(batch)
            self.optimizer.zero_grad()
            loss.backward()
            if self.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
            self.optimizer.step()
            total += loss.item()
        return total

    def gradients(self, batch: Batch) -> dict[str, Any]:
        """Returns the logits and the gradient of each weight by name, without dropout."""
        self.model.eval()
        self.model.zero_grad()
        loss, logits = self.loss(batch)
        loss.backward()
        arrays = {name: weight.grad for name, weight in self.model.named_parameters()} | {"logits": logits.detach()}
        return {name: value.cpu().numpy() for name, value in arrays.items() if value is not None}
