"""What the documentation shows is run, and holds."""

import doctest
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from parity import PAGE, code_of_page, page
from small_data import metrics_of, result_of

import jaxrnn
from jaxrnn import applications, evaluate, predict, report

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


@pytest.mark.parametrize("page", [each for each in PAGES if code(each) and each != PAGE], ids=lambda page: page.name)
def test_snippets(page):
    exec(compile(code(page), str(page), "exec"), {})


@pytest.fixture
def parity_of_page(monkeypatch):
    monkeypatch.setitem(applications.REGISTRY, "parity", page.Parity())


def test_an_application_from_nothing(tmp_path, monkeypatch, capsys, parity_of_page):
    """The program of the page, under 100 lines: its commands run and do what the page says."""
    program = code_of_page()
    assert len(program.splitlines()) < 100
    (tmp_path / "parity.py").write_text(program)
    commands = [
        line.removeprefix("$ python ").split() for line in PAGE.read_text().splitlines() if line.startswith("$")
    ]
    assert [words[:2] for words in commands] == [
        ["parity.py", command] for command in ("train", "evaluate", "predict", "report")
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *commands[0]], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    monkeypatch.chdir(tmp_path)
    run_dir = Path("runs/parity")
    validations = [record["accuracy"] for record in metrics_of(run_dir) if record["split"] == "validation"]
    assert validations[1:] == [1, 1]  # after two epochs every string is told right

    assert evaluate.main([*commands[1][2:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == result_of(run_dir)["test_accuracy"] == 1
    assert predict.main(commands[2][2:]) == 0
    assert capsys.readouterr().out == "0110 even\n10110 odd\n"
    assert report.main(commands[3][2:]) == 0
    assert "100.00 %" in (run_dir / "report.html").read_text()


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
