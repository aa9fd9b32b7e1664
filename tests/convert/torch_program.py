"""A network of several parts, as the usual PyTorch classifier has them: embedding, recurrent layer, linear head."""

import jax.numpy as jnp
from flax import nnx


class Program(nnx.Module):
    def __init__(self, name, layer, num_outputs, vocabulary_size=7, rngs=0):
        rngs = nnx.Rngs(rngs)
        cell = layer.cells[0]
        self.name = name
        self.embedding = nnx.Embed(vocabulary_size, cell.in_features, rngs=rngs)
        self.layer = layer
        self.head = nnx.Linear(layer.num_directions * cell.out_features, num_outputs, rngs=rngs)
        self.head.bias[...] = jnp.linspace(-1, 1, num_outputs)

    def torch_parts(self):
        return {"embedding": self.embedding, self.name: self.layer, "fc": self.head}

    def __call__(self, tokens, lengths):
        _, state = self.layer(self.embedding(tokens), lengths=lengths)
        return self.head(self.layer.last(state))
