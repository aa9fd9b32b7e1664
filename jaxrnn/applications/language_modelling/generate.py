"""Writes text with a trained language model, word by word."""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrnn.applications.base import Trained
from jaxrnn.applications.language_modelling.data import split_into_words
from jaxrnn.applications.language_modelling.model import LanguageModel
from jaxrnn.applications.language_modelling.sampling import restrict
from jaxrnn.config import Rule
from jaxrnn.config.schema import COUNT, NOT_NEGATIVE, SEED
from jaxrnn.data.text import Vocabulary

logger = logging.getLogger("jaxrnn")

PROBABILITY = Rule("a number above 0 and at most 1", lambda value: 0 < value <= 1)

# Words that stand without a space after the word before them, or before the word after them.
CLOSING = frozenset(".,;:!?)]}%…'’")
OPENING = frozenset("([{$£€#")
CLITICS = ("'", "’", "n't", "n’t")


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Adds the arguments of `write_text`. What is out of range is refused before a model is loaded."""
    parser.add_argument(
        "--tokens", type=_one(int, COUNT), default=100, help="largest number of words to write; default: %(default)s"
    )
    parser.add_argument(
        "--temperature",
        type=_one(float, NOT_NEGATIVE),
        default=1.0,
        help="divides the logits; 0 always takes the most probable word; default: %(default)s",
    )
    parser.add_argument(
        "--top-k", type=_one(int, COUNT), metavar="K", help="draw only from the K most probable words; default: all"
    )
    parser.add_argument(
        "--top-p",
        type=_one(float, PROBABILITY),
        metavar="P",
        help="draw only from the fewest words whose probabilities add up to P; default: all",
    )
    parser.add_argument(
        "--seed", type=_one(int, SEED), default=0, help="random seed of the draws; default: %(default)s"
    )


def write_text(trained: Trained, prompt: str, *, tokens: int, seed: int, **restrictions: Any) -> Iterator[str]:
    """The prompt and what follows it, in pieces: each word as it comes, with the space before it.

    Args:
      trained: The model.
      prompt: How the text begins; it may be empty.
      tokens: The largest number of new words; the end of the text may come earlier.
      seed: Seed of the draws.
      **restrictions: See `restrict`.
    """
    before = ""
    words = generate_words(
        trained, split_into_words(trained.config, prompt), num_tokens=tokens, seed=seed, **restrictions
    )
    for word in words:
        yield space_between(before, word) + word
        before = word


def generate_words(
    trained: Trained, prompt: Sequence[str], *, num_tokens: int, seed: int, **restrictions: Any
) -> Iterator[str]:
    """The words of the prompt, then new ones as they come.

    Args:
      trained: The model. It never writes `<unk>`.
      prompt: Words; the model reads those that it does not know as `<unk>`.
      num_tokens: The largest number of new words; the end of the text may come earlier.
      seed: Seed of the draws.
      **restrictions: See `restrict`.
    """
    vocabulary, end_id = trained.assets.vocabulary, trained.assets.end_id
    model = trained.model()
    step = make_step(model, **restrictions)
    numbers = vocabulary.encode(prompt)
    unknown = [word for word, number in zip(prompt, numbers, strict=True) if number == Vocabulary.unknown_id]
    if unknown:
        logger.warning("prompt: %d of %d words are unknown, such as %r", len(unknown), len(prompt), unknown[0])
    state, key = model.initial_state(1), jax.random.key(seed)
    last = jnp.array([end_id])
    yield from prompt
    for number in numbers:
        _, state = step(last, state, key)
        last = jnp.array([number])
    for place in range(num_tokens):
        last, state = step(last, state, jax.random.fold_in(key, place))
        if int(last[0]) == end_id:
            return
        yield vocabulary.tokens[int(last[0])]


def make_step(model: LanguageModel, **restrictions: Any) -> Callable[[Array, Any, Array], tuple[Array, Any]]:
    """The one compiled function: from a token `[1]`, the state before it and a key to the next token and state."""
    graph, weights = nnx.split(model)
    special = np.array([Vocabulary.unknown_id, Vocabulary.pad_id])

    @jax.jit
    def step(weights: Any, tokens: Array, state: Any, key: Array) -> tuple[Array, Any]:
        logits, state = nnx.merge(graph, weights).step(tokens, state)
        logits = restrict(logits.at[:, special].set(-jnp.inf), **restrictions)
        return jax.random.categorical(key, logits).astype(tokens.dtype), state

    return lambda tokens, state, key: step(weights, tokens, state, key)


def space_between(before: str, word: str) -> str:
    """What stands between two words, as English is mostly written: a space or nothing."""
    is_close = word in CLOSING or word.startswith(CLITICS) or before in OPENING
    return "" if not before or is_close else " "


def _one(kind: Callable[[str], Any], rule: Rule) -> Callable[[str], Any]:
    """A reader of one argument's value."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not rule.accepts(value):
            raise argparse.ArgumentTypeError(f"expected {rule.expected}, got {text!r}")
        return value

    return read
