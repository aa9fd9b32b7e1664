"""The reference application's training where only JAX is: from token numbers in one file, timed by the epoch.

    python -m benchmarks.token_ids write FILE.npz --data IMDB [--vectors GLOVE] [KEY=VALUE ...]
    python -m benchmarks.token_ids train FILE.npz --out FOLDER [--backend NAME] [KEY=VALUE ...]

`write` runs where the trainer's packages are: it cuts `configs/imdb_bilstm.toml`'s texts into tokens and writes their
numbers, the labels and the first embedding. `train` needs JAX, Flax, Optax and Orbax, no spaCy and no datasets: the
trainer's own model, step and evaluation, the batches padded as ever, every shape compiled before the first epoch.
FOLDER receives metrics.jsonl, a line an epoch, and result.json.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.device import set_precision
from benchmarks.environment import command_line, environment
from benchmarks.reference_model import CONFIG, build_reference, make_examples
from jaxrnn.applications import bucketed, build_network, load_config
from jaxrnn.applications.classification import APPLICATION
from jaxrnn.applications.classification.config import ClassificationConfig
from jaxrnn.data import BucketedBatches, Ragged
from jaxrnn.training import Devices, Sums, TrainState, add, make_evaluate

SPLITS = ("train", "validation", "test")
EMBEDDING = "embedding.embedding"


def write(path: Path, config: ClassificationConfig) -> None:
    """Texts to token numbers, as the trainer makes them, and the embedding that it starts from."""
    data = APPLICATION.prepare(config)
    parameters = build_network(APPLICATION, config, data.assets).parameters
    arrays: dict[str, Any] = {"embedding": np.asarray(APPLICATION.start(config, data.assets, parameters)[EMBEDDING])}
    for split, examples in zip(SPLITS, (data.train, data.validation, data.test), strict=True):
        tokens = examples.columns["tokens"]
        assert isinstance(tokens, Ragged)
        dtype = np.uint32 if len(data.assets.vocabulary) > 2**16 else np.uint16
        arrays[f"{split}_ids"] = np.concatenate(tokens.values).astype(dtype)
        arrays[f"{split}_lengths"] = np.array([len(row) for row in tokens.values], np.int32)
        arrays[f"{split}_labels"] = np.asarray(examples.columns["label"], np.int32)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


def read(path: Path, config: ClassificationConfig) -> tuple[np.ndarray, dict[str, BucketedBatches]]:
    """The embedding, and the batches of each split."""
    with np.load(path) as arrays:  # pickles are refused
        batches = {}
        for split in SPLITS:
            lengths = arrays[f"{split}_lengths"]
            ids = np.split(arrays[f"{split}_ids"].astype(np.int32), np.cumsum(lengths)[:-1])
            examples = make_examples(ids, arrays[f"{split}_labels"])
            batches[split] = bucketed(config, examples, Devices.of(1))
        return arrays["embedding"], batches


def train(path: Path, folder: Path, config: ClassificationConfig, backend: str | None) -> dict[str, Any]:
    """Trains, evaluates after each epoch, and tests the epoch with the best validation loss."""
    embedding, batches = read(path, config)
    num_steps = config.train.epochs * batches["train"].num_batches
    model = build_reference(config, num_tokens=len(embedding), num_steps=num_steps, backend=backend)
    step, evaluate = model.step, make_evaluate(model.split, task=model.task, devices=model.devices)

    def start() -> TrainState:
        parameters = jax.tree.map(jnp.copy, model.split.parameters)  # a step uses up what it is given
        return model.initial_state(**parameters | {EMBEDDING: jnp.asarray(embedding)})

    begun = time.perf_counter()
    shapes = {batch.time: batch for batch in batches["train"].epoch(0)}
    state = start()
    for batch in 2 * list(shapes.values()):  # what a step returns lies elsewhere than what the first is given
        state, *_ = step(state, batch)
    for split_name in SPLITS[1:]:
        evaluate(state.parameters, batches[split_name].in_order(), None)
    rows, state, best = [], start(), (np.inf, model.split.parameters)
    result: dict[str, Any] = {"compile_seconds": time.perf_counter() - begun, "shapes": len(shapes)}
    for epoch in range(config.train.epochs):
        begun, every = time.perf_counter(), []
        for batch in batches["train"].epoch(epoch):
            state, sums, _ = step(state, batch)
            every.append(sums)  # they are read once the epoch is over, because reading waits for the step
        total: Sums = reduce(add, every, {})
        jax.block_until_ready(state)
        seconds = time.perf_counter() - begun
        found = evaluate(state.parameters, batches["validation"].in_order(), None).sums
        rows.append({"epoch": epoch + 1, "seconds": seconds, **_means("train", total), **_means("validation", found)})
        if rows[-1]["validation_loss"] < best[0]:  # a copy: the next step uses the state up
            best = rows[-1]["validation_loss"], jax.tree.map(jnp.copy, state.parameters)
        print(rows[-1], flush=True)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tested = evaluate(best[1], batches["test"].in_order(), None).sums
    result |= {
        "epoch_seconds": float(np.median([row["seconds"] for row in rows])),
        **_means("test", tested),
        "precision": set_precision(),
        "backend": backend or "chosen",
        "environment": environment(command_line()),
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _means(split: str, sums: Sums) -> dict[str, float]:
    return {f"{split}_loss": sums["loss"] / sums["count"], f"{split}_accuracy": sums["correct"] / sums["count"]}


def main(arguments: Sequence[str]) -> int:
    """Writes the file, or trains from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "train"))
    parser.add_argument("file", type=Path, metavar="FILE.npz")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the config, as for the trainer")
    parser.add_argument("--data", metavar="PATH", help="write: IMDB")
    parser.add_argument("--vectors", metavar="PATH", help="write: GloVe; without, the embedding is drawn")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="train: receives metrics and the result")
    parser.add_argument("--backend", metavar="NAME", help="train: of the recurrent layers; without, it is chosen")
    options = parser.parse_intermixed_args(arguments)
    paths = {"data.source": options.data, "vectors.path": options.vectors}
    given = [f"{key}={value}" for key, value in paths.items() if value is not None]
    config = load_config(CONFIG, [*options.overrides, *given])
    if options.action == "write":
        write(options.file, config)
    elif options.out is None:
        parser.error("train: expected --out FOLDER")
    else:
        options.out.mkdir(parents=True, exist_ok=True)
        result = train(options.file, options.out, config, options.backend)
        print(f"an epoch {result['epoch_seconds']:.2f} s, test accuracy {100 * result['test_accuracy']:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
