"""Weights from and to other frameworks."""

from jaxrnn.convert.flax import from_flax as from_flax
from jaxrnn.convert.flax import to_flax as to_flax
from jaxrnn.convert.keras import from_keras as from_keras
from jaxrnn.convert.keras import to_keras as to_keras
from jaxrnn.convert.pytorch import from_torch as from_torch
from jaxrnn.convert.pytorch import to_torch as to_torch
from jaxrnn.convert.safetensors import load_safetensors as load_safetensors
from jaxrnn.convert.safetensors import save_safetensors as save_safetensors
