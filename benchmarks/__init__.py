"""Benchmarks: `python -m benchmarks.run` and `python -m benchmarks.report`; README.md explains the results."""

import os

# JAX and Keras read these when they are imported. By default JAX allocates three quarters of a GPU's memory, but here
# PyTorch runs in the same process.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
