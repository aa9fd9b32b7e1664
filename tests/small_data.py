"""A small data set of two classes that tell apart by their words, and settings to train on it in seconds."""

import json

import jax
import numpy as np

from jaxrnn import build

WORDS = {"good": "fine warm clever lovely bright", "bad": "dull cold stupid dreary grey"}
SMALL = [
    "model.embedding=8", "model.hidden=8", "data.max_shapes=2", "train.batch_size=16", "train.epochs=3",
    "optim.learning_rate=0.02", "devices.per_process=1",
]  # fmt: skip


def make_texts(count, seed):
    rng = np.random.default_rng(seed)
    records = []
    for i in range(count):
        label = ("good", "bad")[i % 2]
        words = rng.choice([*WORDS[label].split(), "the", "film", "is", "and"], size=rng.integers(4, 12))
        records.append({"text": " ".join([*words, WORDS[label].split()[0]]), "label": label})
    return records


def write_data(folder):
    for split, count in {"train": 120, "validation": 40, "test": 60}.items():
        lines = [json.dumps(record) for record in make_texts(count, seed=count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


def parameters_of(run_dir):
    return build.load_classifier(run_dir).parameters


def metrics_of(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def assert_same_run(one, other):
    """Bit for bit, but for the times."""
    assert jax.tree.all(jax.tree.map(np.array_equal, parameters_of(one), parameters_of(other)))
    assert metrics_of(one) == metrics_of(other)
    results = [json.loads((path / "result.json").read_text()) for path in (one, other)]
    for key in ("test_loss", "test_accuracy", "validation_loss", "best_step"):
        assert results[0][key] == results[1][key], key
