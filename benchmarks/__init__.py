"""Measurements: `python -m benchmarks.run` and `python -m benchmarks.report`; README.md says how to read them."""

import os

# Read when JAX and Keras are imported. JAX takes three quarters of a GPU's memory by default, and PyTorch runs in the
# same process.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
