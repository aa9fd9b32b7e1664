import pytest
from fuzz import fuzz, fuzz_config, fuzz_data, fuzz_folder


@pytest.fixture(autouse=True)
def _logging(monkeypatch):
    """The command lines set these up for a process of their own."""
    import logging

    logger = logging.getLogger("jaxrnn")
    for name in ("handlers", "propagate", "level"):
        monkeypatch.setattr(logger, name, [] if name == "handlers" else getattr(logger, name))


def check(counts):
    for name, part in fuzz(counts, seed=1).items():
        assert not part["failures"], name
        assert part.get("ran", 0) + part.get("refused", 0) == part["count"]


def test_a_few_mutations():
    check({fuzz_config: 6, fuzz_data: 2, fuzz_folder: 3})


@pytest.mark.slow
def test_many_mutations():
    check({fuzz_config: 200, fuzz_data: 50, fuzz_folder: 50})
