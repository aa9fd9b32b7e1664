"""A small text classifier, and a batch for it."""

import numpy as np
from flax import nnx

from jaxrnn.applications.classification.config import ClassificationModelConfig
from jaxrnn.applications.classification.model import TextClassifier

VOCABULARY = 9
TOKENS = np.array([[3, 4, 5, 6], [5, 3, 1, 1], [1, 1, 1, 1]], np.int32)
LENGTHS = np.array([4, 2, 0], np.int32)

SIZES = {
    "embedding": 4,
    "hidden": 5,
    "num_layers": 2,
    "bidirectional": True,
    "dropout_rate": 0.5,
    "pooling": "last",
    "init": "orthogonal",
}


def make(*, vocabulary_size=VOCABULARY, num_classes=3, ratios=None, longest_ngram=1, **settings):
    """A classifier; settings are those of [model]."""
    return TextClassifier(
        ClassificationModelConfig(**SIZES | settings),
        vocabulary_size=vocabulary_size,
        num_classes=num_classes,
        ratios=ratios,
        longest_ngram=longest_ngram,
        rngs=nnx.Rngs(0),
    )
