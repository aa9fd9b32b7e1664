"""Linear-chain conditional random fields: how probable a sequence of tags is, and which one is the most probable.

A sequence of tags y_1 ... y_n with emissions e_t[k], the network's score of tag k at step t, scores

    s(y) = a[y_1] + Σ_t e_t[y_t] + Σ_{t>1} A[y_{t-1}, y_t] + b[y_n]

with the scores A of the transitions, a of the first tag and b of the last. Its probability is exp(s(y)) / Z, where Z
sums exp(s) over all K^n sequences. The forward algorithm computes log Z in n steps: α_t[k], the logarithm of the sum
over all beginnings that end in tag k at step t, is

    α_1 = a + e_1,    α_t[k] = e_t[k] + log Σ_j exp(α_{t-1}[j] + A[j, k]),    log Z = log Σ_k exp(α_n[k] + b[k]).

With max in place of log Σ exp it is the Viterbi algorithm, which finds the best sequence (Lafferty et al. 2001; Lample
et al. 2016, arXiv:1603.01360, section 2.2). An empty sequence has the score and the log Z of 0.

Steps from a row's length on are padding. Their emissions, even if NaN, change nothing and have no gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


class Transitions(NamedTuple):
    """Scores of neighbouring tags. Illegal ones may be minus infinity in `viterbi` alone.

    Attributes:
      between: A, [tags, tags], of the second tag after the first.
      first: a, [tags], of the tag that a sequence begins with.
      last: b, [tags], of the tag that a sequence ends with.
    """

    between: ArrayLike
    first: ArrayLike
    last: ArrayLike


def log_likelihood(emissions: ArrayLike, tags: ArrayLike, lengths: ArrayLike, transitions: Transitions) -> Array:
    """Returns the logarithm of the probability of each row's tags, [batch].

    Args:
      emissions: e, floats [batch, time, tags].
      tags: y, integers [batch, time]; anything in the padding.
      lengths: n, integers [batch], from 0 to time.
      transitions: A, a and b.
    """
    return score(emissions, tags, lengths, transitions) - log_partition(emissions, lengths, transitions)


def score(emissions: ArrayLike, tags: ArrayLike, lengths: ArrayLike, transitions: Transitions) -> Array:
    """Returns the score s(y) of each row's tags, [batch]; arguments as of `log_likelihood`."""
    emissions, lengths = jnp.asarray(emissions), jnp.asarray(lengths)
    between, first, last = map(jnp.asarray, transitions)
    num_steps, num_tags = emissions.shape[1:]
    if num_steps == 0:
        return jnp.zeros(emissions.shape[0], emissions.dtype)
    valid = jnp.arange(num_steps) < lengths[:, None]
    tags = jnp.where(valid, jnp.asarray(tags), 0)
    chosen = jax.nn.one_hot(tags, num_tags, dtype=bool)
    # A product with one-hot vectors would let NaN of other tags and of the padding through.
    of_steps = jnp.where(chosen & valid[..., None], emissions, 0).sum(-1)
    of_steps = of_steps.at[:, 1:].add(jnp.where(valid[:, 1:], between[tags[:, :-1], tags[:, 1:]], 0))
    of_ends = first[tags[:, 0]] + last[jnp.take_along_axis(tags, jnp.maximum(lengths - 1, 0)[:, None], 1)[:, 0]]
    return of_steps.sum(1) + jnp.where(lengths > 0, of_ends, 0)


def log_partition(emissions: ArrayLike, lengths: ArrayLike, transitions: Transitions) -> Array:
    """Returns log Z of each row, [batch]; arguments as of `log_likelihood`."""
    emissions, lengths = jnp.asarray(emissions), jnp.asarray(lengths)
    between, first, last = map(jnp.asarray, transitions)
    if emissions.shape[1] == 0:
        return jnp.zeros(emissions.shape[0], emissions.dtype)
    emissions, valid = _steps(emissions, lengths)

    def step(alpha: Array, inputs: tuple[Array, Array]) -> tuple[Array, None]:
        emission, is_valid = inputs
        following = emission + jax.nn.logsumexp(alpha[:, :, None] + between, axis=1)
        return jnp.where(is_valid[:, None], following, alpha), None

    alpha, _ = jax.lax.scan(step, first + emissions[0], (emissions[1:], valid[1:]))
    return jnp.where(lengths > 0, jax.nn.logsumexp(alpha + last, axis=1), 0)


def viterbi(emissions: ArrayLike, lengths: ArrayLike, transitions: Transitions) -> tuple[Array, Array]:
    """Finds the sequence of tags with the highest score; of equally good ones that with the lower last tags.

    With zeros for legal and minus infinity for illegal transitions it decodes any network's log-probabilities so that
    the tags are a legal sequence.

    Args:
      emissions: e, floats [batch, time, tags].
      lengths: n, integers [batch], from 0 to time.
      transitions: A, a and b; minus infinity for what must not be.

    Returns:
      The tags, int32 [batch, time], 0 in the padding; and their scores, [batch].
    """
    emissions, lengths = jnp.asarray(emissions), jnp.asarray(lengths)
    between, first, last = map(jnp.asarray, transitions)
    if emissions.shape[1] == 0:
        return jnp.zeros(emissions.shape[:2], jnp.int32), jnp.zeros(emissions.shape[0], emissions.dtype)
    emissions, valid = _steps(emissions, lengths)

    def step(best: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        emission, is_valid = inputs
        candidates = best[:, :, None] + between
        following = emission + candidates.max(1)
        # In the padding each tag comes from itself: going back then arrives at the last valid step unchanged.
        origin = jnp.where(is_valid[:, None], candidates.argmax(1), jnp.arange(best.shape[1]))
        return jnp.where(is_valid[:, None], following, best), origin

    best, origins = jax.lax.scan(step, first + emissions[0], (emissions[1:], valid[1:]))
    best = best + last

    def go_back(tag: Array, origin: Array) -> tuple[Array, Array]:
        return jnp.take_along_axis(origin, tag[:, None], axis=1)[:, 0], tag

    first_tag, others = jax.lax.scan(go_back, best.argmax(1), origins, reverse=True)
    tags = jnp.where(valid, jnp.concatenate([first_tag[None], others]), 0)
    return tags.T.astype(jnp.int32), jnp.where(lengths > 0, best.max(1), 0)


def _steps(emissions: Array, lengths: Array) -> tuple[Array, Array]:
    """Returns emissions `[time, batch, tags]` with zeros in the padding, and which steps are valid, `[time, batch]`."""
    valid = jnp.arange(emissions.shape[1])[:, None] < lengths
    return jnp.where(valid[..., None], emissions.swapaxes(0, 1), 0), valid
