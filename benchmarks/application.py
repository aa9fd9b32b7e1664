"""Training steps of the reference application, `configs/imdb_bilstm.toml`, against the same program in PyTorch.

A sample of an epoch's batches: sorted by length, the middles of equal parts. With the data set's own reviews, or with
random tokens in texts as long as the reviews are.
"""

import importlib.util
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.agreement import check
from benchmarks.cases import draw_imdb_lengths
from benchmarks.device import set_precision, torch_device
from benchmarks.reference_model import CONFIG, build_reference, make_examples
from benchmarks.timing import compared, in_turns
from jaxrnn import convert
from jaxrnn.applications import bucketed, load_config
from jaxrnn.applications.classification import APPLICATION
from jaxrnn.applications.classification.config import ClassificationConfig
from jaxrnn.applications.classification.task import classification_loss
from jaxrnn.data import Batch, BucketedBatches, Padded
from jaxrnn.training import Devices, Sums, add

NUM_REVIEWS = 17_497  # what the recipe trains on
WITH_PIPELINE, PIPELINE = "jaxrnn with the input pipeline", "the input pipeline alone"


class Epoch(NamedTuple):
    """An epoch's batches, and a sample of them."""

    config: ClassificationConfig
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
        prepared = APPLICATION.prepare(config)
        num_tokens = len(prepared.assets.vocabulary)
        batches = list(bucketed(config, prepared.train, Devices.of(1)).epoch(0))
    else:
        num_tokens, batches = config.data.vocabulary_size + 2, _random_batches(config, num_reviews)
    whole = [each for each in batches if each.weights.all() and each.arrays["tokens"].lengths.all()]
    whole.sort(key=lambda batch: batch.time)
    places = ((np.arange(sample) + 0.5) / sample * len(whole)).astype(int)
    source = config.data.source if data is not None else "random tokens in texts as long as IMDB's"
    return Epoch(config, num_tokens, batches, _join([whole[k] for k in places]), source)


def _random_batches(config: ClassificationConfig, num_reviews: int) -> list[Batch]:
    rng = np.random.default_rng(0)
    lengths = np.minimum(draw_imdb_lengths(rng, num_reviews), config.data.max_tokens)
    token_ids = [rng.integers(2, config.data.vocabulary_size + 2, n).astype(np.int32) for n in lengths]
    examples = make_examples(token_ids, rng.integers(0, 2, num_reviews))
    return list(bucketed(config, examples, Devices.of(1)).epoch(0))


def _join(batches: list[Batch]) -> BucketedBatches:
    """The same texts as a data set, padded to the same lengths."""
    tokens = [batch.arrays["tokens"] for batch in batches]
    token_ids = [row[:n] for each in tokens for row, n in zip(each.values, each.lengths, strict=True)]
    labels = np.concatenate([batch.arrays["label"] for batch in batches])
    boundaries = sorted({batch.time for batch in batches})
    batch_size = len(batches[0].indices)
    return BucketedBatches(make_examples(token_ids, labels), boundaries=boundaries, batch_size=batch_size, seed=0)


class OurProgram:
    """Our model and its training step, run as the trainer runs them."""

    def __init__(self, epoch: Epoch):
        num_steps = epoch.config.train.epochs * len(epoch.batches)
        self.reference = build_reference(epoch.config, num_tokens=epoch.num_tokens, num_steps=num_steps)
        self.split, self.step = self.reference.split, self.reference.step
        self.weights = convert.to_torch(self.split.merge(self.split.parameters, self.split.rest))
        self.state = self.reference.initial_state()

    def train(self, batches: Any) -> Sums:
        """One step for each batch, as in the trainer's loop: sums are read once the next step is under way."""
        total: Sums = {}
        before, batches = None, iter(batches)
        batch = next(batches, None)
        while batch is not None:
            self.state, sums, _ = self.step(self.state, batch)
            batch = next(batches, None)
            if before is not None:
                total = add(total, before)
            before = sums
        return total if before is None else add(total, before)

    def gradients(self, batch: Batch) -> dict[str, np.ndarray]:
        """Logits and the gradient of each weight by PyTorch's names, without dropout."""
        tokens, lengths = batch.arrays["tokens"]

        @jax.jit
        def run(parameters: Any) -> Any:
            def loss(parameters: Any) -> Any:
                network = self.split.merge(parameters, self.split.rest)
                network.eval()
                logits = network(tokens, lengths)
                return classification_loss(logits, jnp.asarray(batch.arrays["label"])).mean(), logits[:, 0]

            return jax.grad(loss, has_aux=True)(parameters)

        gradients, logits = run(self.state.parameters)
        return convert.to_torch(self.split.merge(gradients, self.split.rest)) | {"logits": np.asarray(logits)}


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
    tokens = _num_tokens(prepared)
    tokens_of_epoch = _num_tokens(epoch.batches)
    trained = {name: row["median"] for name, row in result["seconds"].items() if name != PIPELINE}
    return result | {
        "batches": [[len(batch.indices), batch.time] for batch in prepared],
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
    tokens, lengths = batch.arrays["tokens"]
    time = min(32, int(lengths[rows].min()))
    cut = Padded(tokens[rows, :time], np.full(len(lengths[rows]), time, np.int32))
    arrays = {"tokens": cut, "label": batch.arrays["label"][rows]}
    return Batch(arrays, batch.weights[rows], batch.indices[rows])


def _num_tokens(batches: list[Batch]) -> int:
    return int(sum(batch.arrays["tokens"].lengths.sum() for batch in batches))
