"""What the documentation shows is run, and holds."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrnn

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(jaxrnn.__path__, "jaxrnn.")
    if ">>> " in Path(importlib.util.find_spec(module.name).origin).read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def code(page):
    """The page's snippets, as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S))


@pytest.mark.parametrize("page", [page for page in PAGES if code(page)], ids=lambda page: page.name)
def test_snippets(page):
    exec(compile(code(page), str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for path in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / path).exists(), path


def test_the_readme_is_short_and_names_what_exists():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    targets = set(re.findall(r"^([a-z-]+):", (README.parent / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"make ([a-z-]+)", text)) <= targets | {"a"}


def test_the_core_is_light():
    """`import jaxrnn.core` brings in neither Flax nor anything of the trainer."""
    heavy = ("flax", "optax", "orbax", "datasets", "spacy", "matplotlib", "torch")
    code = f"import sys, jaxrnn.core; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
