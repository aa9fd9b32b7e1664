"""Recurrent networks for JAX: `jaxrnn.core` (pure functions), `jaxrnn.nn` (Flax modules), and a trainer.

`load(RUN_DIR)` gives a trained model of any application.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from jaxrnn.applications import Trained

__version__ = "0.2.0.dev0"


def load(run_dir: "str | Path") -> "Trained":
    """Loads the best checkpoint of a run: `load("runs/quickstart").predict(["A text."])`.

    Raises:
      InputError: The folder holds no run, or no checkpoint yet.
    """
    from jaxrnn.applications import load  # here, so that `import jaxrnn.core` needs no Flax

    return load(run_dir)
