"""Cuts long texts to a number of tokens."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np

logger = logging.getLogger("jaxrnn")

Kept = Literal["head", "tail", "both"]


def truncate(
    token_ids: Sequence[np.ndarray], max_tokens: int, *, keep: Kept = "head", head_fraction: float = 0.25
) -> list[np.ndarray]:
    """Cuts longer texts to `max_tokens` tokens, and logs how many there were.

    Args:
      token_ids: An array `[num_tokens, ...]` for each text.
      max_tokens: The most tokens that stay.
      keep: Which of them: the first ("head"), the last ("tail"), or some of both, side by side ("both").
      head_fraction: The share of `max_tokens` that "both" keeps from the start, rounded.
    """
    num_cut = sum(len(ids) > max_tokens for ids in token_ids)
    if num_cut:
        logger.info("data: cut %d of %d texts to data.max_tokens = %d", num_cut, len(token_ids), max_tokens)
    head = {"head": max_tokens, "tail": 0, "both": round(head_fraction * max_tokens)}[keep]
    tail = max_tokens - head
    return [
        ids if len(ids) <= max_tokens else np.concatenate([ids[:head], ids[len(ids) - tail :]]) for ids in token_ids
    ]
