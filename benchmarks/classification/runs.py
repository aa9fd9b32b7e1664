"""The folders of a training run of one seed or of several."""

from pathlib import Path
from typing import Any

from jaxrnn.training import seed_dirs


def run_dirs(path: Path, config: Any) -> list[Path]:
    """The folder of each seed's run.

    Args:
      path: The folder of the run as a whole.
      config: The config of the run as a whole.
    """
    if config.train.seeds == 1:
        return [path]
    return list(seed_dirs(path, range(config.seed, config.seed + config.train.seeds)).values())
