"""Softmaxes for a large vocabulary: all words, some drawn words, and an adaptive one, on the same text.

    python -m benchmarks.softmax --data FOLDER [--steps 300] [--words 20000] [--out FILE.json]

A small language model (LSTM, 128 wide) is trained for the same steps by each, and then evaluated by the whole softmax
of its own. Steps are taken in turns, so that other work on the machine disturbs all alike; the seconds are medians.

The adaptive softmax (Grave et al. 2017, arXiv:1609.04309) has its 2,000 most frequent words and one cluster for the
rest in the head, which is tied to the embedding; the rest has a quarter of the width. Compiled programs have fixed
shapes, so the rest is computed for every position, not only for those whose word is in it. It is not part of the
library.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.environment import command_line, environment
from jaxrnn import language
from jaxrnn.config import load_config
from jaxrnn.models import LanguageModel
from jaxrnn.models.softmax import cross_entropy
from jaxrnn.tasks import Rows, language_modelling
from jaxrnn.training import Devices, TrainState, make_evaluate, make_train_step, split_model

NUM_FREQUENT = 2_000
SETTINGS = [
    "task=language_modelling", "data.max_train_examples=4000", "data.validation_fraction=0.002", "model.embedding=128",
    "model.hidden=128", "model.bidirectional=false", "model.dropout_rate=0", "train.batch_size=16", "train.window=64",
]  # fmt: skip


class AdaptiveModel(LanguageModel):
    """A language model with the adaptive softmax: its own `losses`, all else the same."""

    def __init__(self, *, vocabulary_size: int, embedding_features: int, rngs: nnx.Rngs, **options: Any):
        super().__init__(vocabulary_size=vocabulary_size, embedding_features=embedding_features, rngs=rngs, **options)
        narrow, init = embedding_features // 4, nnx.initializers.normal(embedding_features**-0.5)
        self.rest_projection = nnx.Linear(embedding_features, narrow, use_bias=False, rngs=rngs)
        self.rest_table = nnx.Param(init(rngs.params(), (vocabulary_size - NUM_FREQUENT, narrow)))
        self.rest_word = nnx.Param(init(rngs.params(), (1, embedding_features)))

    def losses(self, tokens: Any, lengths: Any, *, state: Any = None, num_samples: Any = None, rngs: Any = None) -> Any:
        """As the model's, by the adaptive softmax."""
        tokens = jnp.asarray(tokens).T
        num_targets = jnp.maximum(lengths - 1, 0)
        x, state = self._features(tokens[:-1], num_targets, state, rngs)
        targets, bias = tokens[1:], self.bias[...]
        head = jnp.concatenate([self._table()[:NUM_FREQUENT], self.rest_word[...]])
        losses = cross_entropy(x, head, bias[: NUM_FREQUENT + 1], jnp.minimum(targets, NUM_FREQUENT))
        in_rest = jnp.maximum(targets - NUM_FREQUENT, 0)
        rest = cross_entropy(self.rest_projection(x), self.rest_table[...], bias[NUM_FREQUENT:], in_rest)
        losses += jnp.where(targets >= NUM_FREQUENT, rest, 0)
        return jnp.where(jnp.arange(len(losses))[:, None] < num_targets, losses, 0).T, state


def main() -> None:
    """Measures, prints, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a data.source, such as a folder with IMDB")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "softmax.json")
    options = parser.parse_args()
    config = load_config(None, [*SETTINGS, f"data.source={options.data}", f"data.vocabulary_size={options.words}"])
    devices = Devices.of(1)
    data = language.build_data(config, devices)
    plain = language.build_model(config, data.vocabulary)
    adaptive = AdaptiveModel(
        vocabulary_size=len(data.vocabulary), end_id=plain.end_id, embedding_features=128, cell="lstm",
        hidden_features=128, num_layers=1, dropout_rate=0.0, init="orthogonal", rngs=nnx.Rngs(config.seed),
    )  # fmt: skip
    kinds = {
        "all words": (plain, None),
        "512 drawn": (plain, 512),
        "2048 drawn": (plain, 2048),
        "adaptive": (adaptive, None),
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))
    steps, states, seconds = {}, {}, {kind: [] for kind in kinds}
    for kind, (model, num_samples) in kinds.items():
        task = language_modelling(num_samples=num_samples)
        split = split_model(model)
        steps[kind] = make_train_step(split, optimizer, config.seed, task=task)
        carry = task.initial_carry(model, config.train.batch_size)
        states[kind] = TrainState.initial(jax.tree.map(jnp.array, split.parameters), optimizer, carry)
    for batch, _ in zip(data.train.epoch(0), range(options.steps), strict=False):
        for kind, step in steps.items():
            start = time.perf_counter()
            states[kind], _ = jax.block_until_ready(step(states[kind], batch))
            seconds[kind].append(time.perf_counter() - start)
    rows = []
    for kind, (model, _) in kinds.items():
        evaluate = make_evaluate(split_model(model), task=language_modelling())
        totals = evaluate(states[kind].parameters, data.validation.in_order()).totals
        rows.append({"kind": kind, "seconds_a_step": statistics.median(seconds[kind]), "perplexity": totals.perplexity})
        print(rows[-1], flush=True)
    check_sums_to_one(adaptive)
    record = {
        "words": len(data.vocabulary), "steps": len(seconds["adaptive"]), "rows": rows,
        "words_evaluated": totals.examples, "environment": environment(command_line()),
    }  # fmt: skip
    options.out.write_text(json.dumps(record, indent=2) + "\n")


def check_sums_to_one(model: AdaptiveModel) -> None:
    """The adaptive probabilities of all words after one text."""
    words = np.arange(len(model.bias), dtype=np.int32)
    tokens = np.stack([np.full_like(words, 5), words], axis=1)
    rows = Rows(*map(jnp.asarray, (tokens, np.full_like(words, 2), words, words)))
    losses, _ = jax.jit(lambda rows: model.losses(rows.tokens, rows.lengths))(rows)
    np.testing.assert_allclose(np.exp(-np.asarray(losses, np.float64)).sum(), 1, rtol=1e-4)


if __name__ == "__main__":
    main()
