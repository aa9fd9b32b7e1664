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

from benchmarks.application import CONFIG
from benchmarks.device import set_precision
from benchmarks.environment import command_line, environment
from jaxrnn import build, core
from jaxrnn.config import Config, load_config
from jaxrnn.data import BucketedBatches, Vocabulary, choose_boundaries, truncate
from jaxrnn.training import Devices, TrainState, make_evaluate, make_train_step, split_model
from jaxrnn.training.step import Totals

SPLITS = ("train", "validation", "test")
EMBEDDING = "embedding.embedding"


def write(path: Path, config: Config) -> None:
    """Texts to token numbers, as the trainer makes them, and the embedding that it starts from."""
    corpus = build.build_corpus(config)
    tokens = {split: build.build_tokens(config, each.texts) for split, each in corpus.splits.items()}
    vocabulary = Vocabulary.build(
        tokens["train"], max_size=config.data.vocabulary_size, min_count=config.data.min_count
    )
    model = build.build_model(config, vocabulary, num_classes=len(corpus.label_names))
    parameters = build.with_vectors(config, split_model(model).parameters, vocabulary)
    arrays = {"embedding": np.asarray(parameters[EMBEDDING])}
    for split, examples in corpus.splits.items():
        ids = truncate([vocabulary.encode(text) for text in tokens[split]], config.data.max_tokens)
        arrays[f"{split}_ids"] = np.concatenate(ids).astype(np.uint32 if len(vocabulary) > 2**16 else np.uint16)
        arrays[f"{split}_lengths"] = np.array([len(row) for row in ids], np.int32)
        arrays[f"{split}_labels"] = np.asarray(examples.labels, np.int32)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


def read(path: Path, config: Config) -> tuple[np.ndarray, dict[str, BucketedBatches]]:
    """The embedding, and the batches of each split."""
    with np.load(path) as arrays:  # pickles are refused
        batches = {}
        for split in SPLITS:
            lengths = arrays[f"{split}_lengths"]
            ids = np.split(arrays[f"{split}_ids"].astype(np.int32), np.cumsum(lengths)[:-1])
            size = min(config.train.batch_size, len(ids))
            boundaries = choose_boundaries(lengths, batch_size=size, max_shapes=config.data.max_shapes)
            batches[split] = BucketedBatches(
                ids, arrays[f"{split}_labels"], boundaries=boundaries, batch_size=size, seed=config.seed
            )
        return arrays["embedding"], batches


def train(path: Path, folder: Path, config: Config, backend: core.BackendName | None) -> dict[str, Any]:
    """Trains, evaluates after each epoch, and tests the epoch with the best validation loss."""
    embedding, batches = read(path, config)
    words = map(str, range(len(embedding) - len(Vocabulary([]))))  # which ones is all the same to a model
    model = build.build_model(config, Vocabulary(words), num_classes=2)
    core.check_backend(backend)
    model.layer.backend = backend
    split = split_model(model)
    optimizer = build.build_optimizer(
        config, num_steps=config.train.epochs * batches["train"].num_batches
    ).transformation
    step, evaluate = make_train_step(split, optimizer, config.seed), make_evaluate(split, devices=Devices.of(1))

    def start() -> TrainState:
        return TrainState.initial(split.parameters | {EMBEDDING: jnp.asarray(embedding)}, optimizer)

    begun = time.perf_counter()
    shapes = {batch.tokens.shape: batch for batch in batches["train"].epoch(0)}
    state = start()
    for batch in shapes.values():
        state, _ = step(state, batch)
    for split_name in SPLITS[1:]:
        evaluate(state.parameters, batches[split_name].in_order())
    rows, state, best = [], start(), (np.inf, split.parameters)
    result: dict[str, Any] = {"compile_seconds": time.perf_counter() - begun, "shapes": len(shapes)}
    for epoch in range(config.train.epochs):
        begun, every = time.perf_counter(), []
        for batch in batches["train"].epoch(epoch):
            state, totals = step(state, batch)
            every.append(totals)  # read once the epoch is over: to read is to wait
        total = reduce(Totals.plus, every, Totals())
        jax.block_until_ready(state)
        seconds = time.perf_counter() - begun
        found = evaluate(state.parameters, batches["validation"].in_order()).totals
        rows.append({"epoch": epoch + 1, "seconds": seconds, **_means("train", total), **_means("validation", found)})
        if rows[-1]["validation_loss"] < best[0]:  # a copy: the next step uses the state up
            best = rows[-1]["validation_loss"], jax.tree.map(jnp.copy, state.parameters)
        print(rows[-1], flush=True)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tested = evaluate(best[1], batches["test"].in_order()).totals
    result |= {
        "epoch_seconds": float(np.median([row["seconds"] for row in rows])),
        **_means("test", tested),
        "precision": set_precision(),
        "backend": backend or "chosen",
        "environment": environment(command_line()),
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _means(split: str, totals: Totals) -> dict[str, float]:
    return {
        f"{split}_loss": float(totals.mean_loss),
        f"{split}_accuracy": float(totals.accuracy),
    }


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
