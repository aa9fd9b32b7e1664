"""Measurements: `python -m benchmarks.run` and `python -m benchmarks.report`; README.md says how to read them."""
