"""Texts of two classes that differ in their words, settings to train on them in seconds, and what two runs share."""

import json

import jax
import numpy as np

from jaxrnn import applications

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
    return applications.load(run_dir).parameters


def metrics_of(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [without_times(line) for line in lines]


def result_of(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def without_times(record):
    return {key: value for key, value in record.items() if "second" not in key and key != "last_start"}


def assert_same_run(one, other):
    """Bit for bit, but for the times."""
    assert jax.tree.all(jax.tree.map(np.array_equal, parameters_of(one), parameters_of(other)))
    assert metrics_of(one) == metrics_of(other)
    assert without_times(result_of(one)) == without_times(result_of(other))
