"""The configs that ship: each says how it is run, and builds as the application that it is for."""

import tomllib
from pathlib import Path

import pytest
from contracts import load_contract

from jaxrnn import applications, train
from jaxrnn.applications import load_config, network_shapes
from jaxrnn.config import differences, schema_of

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
named = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)


def test_quickstart_file_says_the_defaults_but_for_what_makes_it_steady():
    lines = differences(load_config(None, []), load_config(ROOT / "configs/quickstart.toml", []))
    names = {line.split()[0].rstrip(":") for line in lines}
    assert names == {"model.word_dropout_rate", "optim.schedule", "optim.max_grad_norm", "train.epochs"}, lines


REFERENCE = {  # the published recipe; what is not named here is the default
    "seed": "42", "run_dir": '"runs/imdb_bilstm"', "data.source": '"stanfordnlp/imdb"',
    "data.validation_fraction": "0.3", "data.max_tokens": "4_000", "data.lowercase": "false", "data.max_shapes": "12",
    "vectors.path": '"glove.6B.zip"', "model.embedding": "100", "model.hidden": "256", "model.num_layers": "2",
    "model.pooling": '"last"', "model.init": '"torch"', "model.double_bias": "true", "optim.learning_rate": "1e-3",
    "optim.max_grad_norm": "1.0", "train.batch_size": "64", "train.max_steps": "none",
}  # fmt: skip


def test_reference_recipe():
    config = load_config(None, [f"{key}={value}" for key, value in REFERENCE.items()])
    assert differences(load_config(ROOT / "configs/imdb_bilstm.toml", []), config) == []


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("gru", {"run_dir", "model.cell", "model.double_bias", "optim.max_grad_norm"}),
        ("elman", {"run_dir", "model.cell", "model.double_bias"}),
    ],
)
def test_how_the_other_recipes_differ(cell, expected):
    reference = load_config(ROOT / "configs/imdb_bilstm.toml", [])
    lines = differences(reference, load_config(ROOT / f"configs/imdb_{cell}.toml", []))
    assert {line.partition(":")[0] for line in lines} == expected


@named
def test_a_shipped_config_opens_with_its_command(path):
    text = path.read_text()
    header = text[: text.index("\n\n")]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"python -m jaxrnn.train configs/{path.name}" in header
    assert tomllib.loads(text)["run_dir"] == f"runs/{path.stem}"


@named
def test_a_shipped_config_builds_as_what_it_is(path, tmp_path):
    """On its application's tiny data set, without vectors: data, network, task and optimiser go together."""
    task = load_config(path, []).task
    source = [word for word in load_contract(task).write_data(tmp_path) if word.startswith("data.source")]
    without = [
        f"{key}=none" for key in ("vectors.path", "model.init_from") if key in schema_of(applications.get(task).config)
    ]
    config = load_config(path, [*source, *without, f"data.cache_dir={tmp_path / 'cache'}"])
    application = applications.get(task)
    data = application.prepare(config)
    shapes = network_shapes(application, config, data.assets)
    assert shapes.num_parameters > 1000
    assert any(kind.is_matrix for kind in shapes.kinds.values())
    assert "loss" in application.task(config, data.assets).metrics
    train._optimizer(config, 1000, shapes)
