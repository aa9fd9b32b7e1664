"""Backends that serve a part of the calls by a program of their own, and the primitives that they are bound to."""
