"""Recurrent layers on a CPU in C++, called through JAX's foreign function interface."""
