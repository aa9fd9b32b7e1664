"""Recurrent networks for JAX: `jaxrnn.core` (pure functions), `jaxrnn.nn` (Flax modules), and a trainer."""

__version__ = "0.1.0"
