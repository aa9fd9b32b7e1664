"""Training steps of the reference application, `configs/imdb_bilstm.toml`, against the same program in PyTorch.

A sample of an epoch's batches: sorted by length, the middles of equal parts. With the data set's own reviews, or with
random tokens in texts as long as the reviews are.
"""

import importlib.util
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.agreement import check
from benchmarks.cases import draw_imdb_lengths
from benchmarks.device import set_precision, torch_device
from benchmarks.timing import compared, in_turns
from jaxrnn import build, convert
from jaxrnn.config import Config, load_config
from jaxrnn.data import Batch, BucketedBatches, Vocabulary, choose_boundaries
from jaxrnn.tasks import classification_loss
from jaxrnn.training import Devices, TrainState, make_train_step, split_model
from jaxrnn.training.step import Totals

CONFIG = Path(__file__).parent.parent / "configs" / "imdb_bilstm.toml"
NUM_REVIEWS = 17_497  # what the recipe trains on
WITH_PIPELINE, PIPELINE = "jaxrnn with the input pipeline", "the input pipeline alone"


class Epoch(NamedTuple):
    """An epoch's batches, and a sample of them."""

    config: Config
    num_tokens: int  # of the vocabulary
    batches: list[Batch]
    sample: BucketedBatches  # whose epochs are the batches of the sample
    source: str


def make_epoch(
    *, data: str | None, sample: int, num_reviews: int = NUM_REVIEWS, overrides: tuple[str, ...] = ()
) -> Epoch:
    """The batches of the first epoch.

    Args:
      data: `data.source` of the config, such as a folder with IMDB's files; None: random tokens, real lengths.
      sample: how many batches.
      num_reviews: without data, how many texts.
      overrides: of the config, as on the trainer's command line.
    """
    config = load_config(CONFIG, [*overrides, *([] if data is None else [f"data.source={data}"])])
    if data is not None:
        built = build.build_data(config, Devices.of(1))
        num_tokens, batches = len(built.vocabulary), list(built.train.epoch(0))
    else:
        num_tokens, batches = config.data.vocabulary_size + 2, _random_batches(config, num_reviews)
    whole = sorted((b for b in batches if b.weights.all() and b.lengths.all()), key=lambda b: b.tokens.shape[1])
    places = ((np.arange(sample) + 0.5) / sample * len(whole)).astype(int)
    source = config.data.source if data is not None else "random tokens in texts as long as IMDB's"
    return Epoch(config, num_tokens, batches, _join([whole[k] for k in places]), source)


def _random_batches(config: Config, num_reviews: int) -> list[Batch]:
    rng = np.random.default_rng(0)
    lengths = np.minimum(draw_imdb_lengths(rng, num_reviews), config.data.max_tokens)
    token_ids = [rng.integers(2, config.data.vocabulary_size + 2, n).astype(np.int32) for n in lengths]
    size = config.train.batch_size
    boundaries = choose_boundaries(lengths, batch_size=size, max_shapes=config.data.max_shapes)
    labels = rng.integers(0, 2, num_reviews)
    batches = BucketedBatches(token_ids, labels, boundaries=boundaries, batch_size=size, seed=config.seed)
    return list(batches.epoch(0))


def _join(batches: list[Batch]) -> BucketedBatches:
    """The same texts as a data set, padded to the same lengths."""
    token_ids = [row[:n] for batch in batches for row, n in zip(batch.tokens, batch.lengths, strict=True)]
    labels = np.concatenate([batch.labels for batch in batches])
    boundaries = sorted({batch.tokens.shape[1] for batch in batches})
    return BucketedBatches(token_ids, labels, boundaries=boundaries, batch_size=len(batches[0].labels), seed=0)


class OurProgram:
    """Our model and its training step, run as the trainer runs them."""

    def __init__(self, epoch: Epoch):
        self.model = build.build_model(epoch.config, Vocabulary(map(str, range(epoch.num_tokens - 2))), num_classes=2)
        self.split = split_model(self.model)
        self.weights = convert.to_torch(self.model)
        num_steps = epoch.config.train.epochs * len(epoch.batches)
        optimizer = build.build_optimizer(epoch.config, num_steps=num_steps).transformation
        self.step = make_train_step(self.split, optimizer, epoch.config.seed)
        self.state = TrainState.initial(self.split.parameters, optimizer)

    def train(self, batches: Any) -> Totals:
        """One step for each batch; the next is prepared while the device is at work, as in the trainer's loop."""
        total, batches = Totals(), iter(batches)
        batch = next(batches, None)
        while batch is not None:
            self.state, totals = self.step(self.state, batch)
            batch = next(batches, None)
            total = total.plus(totals)
        return total

    def gradients(self, batch: Batch) -> dict[str, np.ndarray]:
        """Logits and the gradient of each weight by PyTorch's names, without dropout."""

        @jax.jit
        def run(parameters: Any) -> Any:
            def loss(parameters: Any) -> Any:
                network = self.split.merge(parameters)
                network.eval()
                logits = network(batch.tokens, batch.lengths)
                return classification_loss(logits, jnp.asarray(batch.labels)).mean(), logits[:, 0]

            return jax.grad(loss, has_aux=True)(parameters)

        gradients, logits = run(self.state.parameters)
        return convert.to_torch(self.split.merge(gradients)) | {"logits": np.asarray(logits)}


def measure(epoch: Epoch, *, packed: bool = True, seconds: float) -> dict[str, Any]:
    """Seconds and tokens a second of all programs on the sample, after their numbers were found to agree.

    Raises:
      WrongOutputError: PyTorch's program has other logits or gradients.
    """
    ours = OurProgram(epoch)
    prepared = list(epoch.sample.epoch(0))
    programs, absent = _torch_programs(epoch, ours, packed=packed)
    functions = {
        "jaxrnn": lambda: ours.train(prepared),
        WITH_PIPELINE: lambda: ours.train(epoch.sample.epoch(1)),
        PIPELINE: lambda: sum(1 for _ in epoch.sample.epoch(1)),
    }
    functions |= {name: lambda program=program: program.train(prepared) for name, program in programs.items()}
    first = {"PyTorch packed": math.inf} if "PyTorch packed" in programs else {}  # too slow to warm up for nothing
    result = compared(in_turns(functions, seconds=seconds, first=first))
    tokens = int(sum(batch.lengths.sum() for batch in prepared))
    tokens_of_epoch = int(sum(batch.lengths.sum() for batch in epoch.batches))
    trained = {name: row["median"] for name, row in result["seconds"].items() if name != PIPELINE}
    return result | {
        "batches": [list(batch.tokens.shape) for batch in prepared],
        "tokens": tokens,
        "batches_of_epoch": len(epoch.batches),
        "tokens_of_epoch": tokens_of_epoch,
        "tokens_per_second": {name: tokens / taken for name, taken in trained.items()},
        "epoch_seconds": {name: tokens_of_epoch / tokens * taken for name, taken in trained.items()},
        "source": epoch.source,
        "hidden": epoch.config.model.hidden,
        "absent": absent,
    }


def _torch_programs(epoch: Epoch, ours: OurProgram, *, packed: bool) -> tuple[dict[str, Any], dict[str, str]]:
    names = {"PyTorch padded": False} | ({"PyTorch packed": True} if packed else {})
    if importlib.util.find_spec("torch") is None:
        return {}, dict.fromkeys(names, "torch is not installed")
    from benchmarks.reference_program import Program

    programs = {}
    small = _small(epoch.batches[0])
    expected = ours.gradients(small)
    for name, is_packed in names.items():
        programs[name] = Program(epoch.config, ours.weights, packed=is_packed, device=torch_device())
        check(f"application: {name}", programs[name].gradients(small), expected, precision=set_precision())
    return programs, {}


def _small(batch: Batch) -> Batch:
    """Eight rows cut to one length, so that padded and packed are the same function."""
    rows = slice(0, 8)
    time = min(32, int(batch.lengths[rows].min()))
    return Batch(
        batch.tokens[rows, :time],
        np.full(len(batch.labels[rows]), time, np.int32),
        batch.labels[rows],
        batch.weights[rows],
        batch.indices[rows],
    )
