"""Writes text by a trained language model: `python -m jaxrnn.generate RUN_DIR [PROMPT] [--tokens N] ...`."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxrnn import build
from jaxrnn.command_line import ArgumentParser, run
from jaxrnn.data import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.language import Language, load_language_model
from jaxrnn.models import restrict

logger = logging.getLogger("jaxrnn")

# Tokens that stand close to the word before them, or to the one after.
CLOSING = frozenset(".,;:!?)]}%…'’")
OPENING = frozenset("([{$£€#")
CLITICS = ("'", "’", "n't", "n’t")


def main(arguments: Sequence[str]) -> int:
    """Prints the prompt and what follows it, word by word; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m jaxrnn.generate", description="Writes text by a language model's best checkpoint."
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder of a training run")
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", default="", help="how the text begins; default: anyhow")
    parser.add_argument("--tokens", type=int, default=100, help="the most to write; default: %(default)s")
    parser.add_argument("--temperature", type=float, default=1.0, help="0: always the likeliest; default: %(default)s")
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest words alone")
    parser.add_argument("--top-p", type=float, metavar="P", help="draw from the fewest words that make up P, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="of the draw; default: %(default)s")
    options = parser.parse_intermixed_args(arguments)
    if options.tokens < 1:
        raise InputError(f"--tokens: expected at least 1, got {options.tokens}")
    if not 0 <= options.seed < 2**32:
        raise InputError(f"--seed: expected 0 to {2**32 - 1}, got {options.seed}")
    restrictions = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    try:
        restrict(jnp.zeros(2), **restrictions)
    except ValueError as error:
        raise InputError(f"--{str(error).replace('top_', 'top-')}") from error

    logging.getLogger("jaxrnn").setLevel(logging.WARNING)
    language = load_language_model(options.run_dir)
    prompt = build.build_tokens(language.config, [os.fsencode(options.prompt).decode("utf-8", "replace")], cached=False)
    before = ""
    for word in generate(language, prompt[0], num_tokens=options.tokens, seed=options.seed, **restrictions):
        print(_space(before, word) + word, end="", flush=True)
        before = word
    print()
    return 0


def generate(
    language: Language, prompt: Sequence[str], *, num_tokens: int, seed: int, **restrictions: Any
) -> Iterator[str]:
    """The tokens of the prompt, then new ones as they come, up to so many or to the end of the text.

    Args:
      language: the model. It never writes `<unk>`.
      prompt: tokens; those that the model does not know are read as `<unk>`.
      num_tokens: the most new ones.
      seed: of the draw.
      **restrictions: see `jaxrnn.models.restrict`.
    """
    vocabulary = language.vocabulary
    model = language.model()
    step = make_step(model, **restrictions)
    numbers = vocabulary.encode(prompt)
    unknown = [word for word, number in zip(prompt, numbers, strict=True) if number == Vocabulary.unknown_id]
    if unknown:
        logger.warning("prompt: %d of %d words are unknown, such as %r", len(unknown), len(prompt), unknown[0])
    state, key = model.initial_state(1), jax.random.key(seed)
    last = jnp.array([vocabulary.end_id])
    yield from prompt
    for number in numbers:
        _, state = step(last, state, key)
        last = jnp.array([number])
    for place in range(num_tokens):
        last, state = step(last, state, jax.random.fold_in(key, place))
        if int(last[0]) == vocabulary.end_id:
            return
        yield vocabulary.tokens[int(last[0])]


def make_step(model: Any, **restrictions: Any) -> Callable[[Array, Any, Array], tuple[Array, Any]]:
    """The one compiled function: a token `[1]`, the state before it and a key to the next token and the state after."""
    graph, weights = nnx.split(model)
    special = np.array([Vocabulary.unknown_id, Vocabulary.pad_id])

    @jax.jit
    def step(weights: Any, tokens: Array, state: Any, key: Array) -> tuple[Array, Any]:
        logits, state = nnx.merge(graph, weights).step(tokens, state)
        logits = restrict(logits.at[:, special].set(-jnp.inf), **restrictions)
        return jax.random.categorical(key, logits).astype(tokens.dtype), state

    return lambda tokens, state, key: step(weights, tokens, state, key)


def _space(before: str, word: str) -> str:
    """What stands between two tokens; English as it is mostly written."""
    is_close = word in CLOSING or word.startswith(CLITICS) or before in OPENING
    return "" if not before or is_close else " "


if __name__ == "__main__":
    run(main)
