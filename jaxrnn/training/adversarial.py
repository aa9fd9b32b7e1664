"""Adversarial and virtual adversarial training: a loss that also holds a small step away, in the worst direction.

The step is taken from the embedded text, after dropout; its L2 norm over all of a text's words and features is given.

- Adversarial: along the gradient g of the loss at the text, r = ε g/‖g‖; the loss at x + r is minimised too.
- Virtual adversarial follows no label: with p the model's own prediction at x, held fixed, D(r) = KL(p(x) ‖ p(x + r))
  has its minimum, zero, at r = 0, so D(r) ≈ ½ rᵀHr. The direction that changes the prediction most is H's first
  eigenvector. One turn of power iteration from a random d approaches it: ∇D(ξd) ≈ ξHd for a small ξ.

All passes of a step have the same dropout masks.

The virtual loss needs no labels: where there are texts without, it is the mean over a batch drawn from all texts
(equation 5), beside the other losses of a batch with labels.

Source: Miyato, Dai & Goodfellow 2017, arXiv:1605.07725, equations 3 to 7; ξ as in the authors' program.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

Parameters = TypeVar("Parameters")
Measured = TypeVar("Measured")

PROBE_NORM = 0.1  # ξ: small against the norms in use, large against rounding


class Perturbations(NamedTuple):
    """How far to go from a text, in the units of the embedding; None: no such loss."""

    adversarial: float | None = None
    virtual_adversarial: float | None = None

    def gradient(
        self,
        loss: Callable[[Parameters, Array], tuple[Array, Measured]],
        divergence: Callable[[Parameters, Array, Measured], Array],
        parameters: Parameters,
        *,
        random: Array,
    ) -> tuple[Parameters, Measured]:
        """The gradient of the loss plus those asked for here, and what was measured beside the plain loss.

        Args:
          loss: of parameters and a perturbation `[time, batch, features]`, and what is measured beside it.
          divergence: of the prediction at a perturbation from the one that was measured.
          parameters: where the gradient is taken.
          random: where the virtual direction starts from; zero in the padding.
        """
        (gradient, ascent), measured = jax.grad(loss, argnums=(0, 1), has_aux=True)(parameters, jnp.zeros_like(random))
        parts = [gradient]
        if self.adversarial is not None:
            worst = scaled(ascent, self.adversarial)
            parts.append(jax.grad(loss, has_aux=True)(parameters, worst)[0])
        if self.virtual_adversarial is not None:
            parts.append(
                virtual_gradient(divergence, parameters, measured, norm=self.virtual_adversarial, random=random)
            )
        return jax.tree.map(lambda *each: sum(each[1:], each[0]), *parts), measured


def virtual_gradient(
    divergence: Callable[[Parameters, Array, Measured], Array],
    parameters: Parameters,
    measured: Measured,
    *,
    norm: float,
    random: Array,
) -> Parameters:
    """The gradient of the virtual adversarial loss.

    Args:
      divergence: of the prediction at a perturbation from the one that was measured.
      parameters: where the gradient is taken.
      measured: at the texts as they are, with these parameters.
      norm: of the perturbations.
      random: the direction to begin with; zero in the padding.
    """
    ascent = divergent_direction(lambda each: divergence(parameters, each, measured), random)
    return jax.grad(divergence)(parameters, scaled(ascent, norm), measured)


def scaled(directions: Array, norm: float) -> Array:
    """Directions `[time, batch, features]`, each text's with this L2 norm; one that is zero stays zero."""
    largest = jnp.abs(directions).max((0, 2), keepdims=True)  # first, as squares of small gradients underflow
    unit = directions / jnp.where(largest > 0, largest, 1)
    length = jnp.sqrt((unit**2).sum((0, 2), keepdims=True))
    return norm * unit / jnp.where(largest > 0, length, 1)


def divergent_direction(divergence: Callable[[Array], Array], random: Array) -> Array:
    """One turn of power iteration, from a random direction, towards where a divergence rises fastest; of any length.

    Args:
      divergence: of a perturbation `[time, batch, features]`; zero, and smallest, at none.
      random: the direction to begin with, of any length.
    """
    return jax.grad(divergence)(scaled(random, PROBE_NORM))


def random_directions(key: Array, shape: tuple[int, int, int], lengths: Array) -> Array:
    """Normal numbers `[time, batch, features]`, zero in the padding."""
    real = jnp.arange(shape[0])[:, None, None] < lengths[:, None]
    return jnp.where(real, jax.random.normal(key, shape), 0)
