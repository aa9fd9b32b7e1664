"""Weights from and to other frameworks."""

from jaxrnn.convert.pytorch import from_torch as from_torch
from jaxrnn.convert.pytorch import to_torch as to_torch
