"""Loops over time made of JAX's own operations: they serve every cell, every option and every transformation."""
