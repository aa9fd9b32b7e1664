"""Writes `imdb_lengths.json`, the histogram of the lengths of IMDB's training reviews; it contains no texts.

python -m benchmarks.lengths FOLDER_OF_IMDB
"""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.cases import IMDB_LENGTHS
from jaxrnn.data.text import load_corpus, tokenize

BIN = 10


def main() -> None:
    """Counts the spaCy tokens of each training review and writes the histogram."""
    corpus = load_corpus(sys.argv[1], validation_fraction=0.3, test_fraction=0.2, seed=42)
    texts = corpus.splits["train"].texts + corpus.splits["validation"].texts
    lengths = np.array([len(tokens) for tokens in tokenize(texts, cache_dir=Path("~/.cache/jaxrnn").expanduser())])
    counts = np.bincount((lengths - 1) // BIN)
    table = {
        "what": f"spaCy tokens of {len(lengths):,} IMDB training reviews; bin k counts {BIN}k + 1 to {BIN}k + {BIN}",
        "median": float(np.median(lengths)),
        "mean": float(lengths.mean()),
        "bin": BIN,
        "counts": counts.tolist(),
    }
    IMDB_LENGTHS.write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
