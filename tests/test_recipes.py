"""The configs that ship."""

import tomllib
from pathlib import Path

import pytest

from jaxrnn.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    VectorsConfig,
    differences,
    load_config,
)

ROOT = Path(__file__).parent.parent


def test_quickstart_file_says_the_defaults():
    assert differences(load_config(ROOT / "configs/quickstart.toml", []), Config()) == []


def test_reference_recipe():
    config = load_config(ROOT / "configs/imdb_bilstm.toml", [])
    assert config == Config(
        seed=42,
        run_dir="runs/imdb_bilstm",
        data=DataConfig(
            source="stanfordnlp/imdb",
            max_train_examples=None,
            validation_fraction=0.3,
            max_tokens=4000,
            lowercase=False,
            vocabulary_size=25_000,
            min_count=1,
            max_shapes=12,
        ),
        vectors=VectorsConfig(path="glove.6B.zip"),
        model=ModelConfig(
            cell="lstm",
            embedding=100,
            hidden=256,
            num_layers=2,
            bidirectional=True,
            dropout_rate=0.5,
            pooling="last",
            init="torch",
            double_bias=True,
            dtype="float32",
        ),
        optim=OptimConfig(learning_rate=1e-3, max_grad_norm=1.0),
        train=TrainConfig(epochs=5, max_steps=None, batch_size=64),
    )


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (
            "gru",
            [
                'run_dir: "runs/imdb_bilstm" != "runs/imdb_gru"',
                'model.cell: "lstm" != "gru"',
                "model.double_bias: true != false",
                "optim.max_grad_norm: 1.0 != none",
            ],
        ),
        (
            "elman",
            [
                'run_dir: "runs/imdb_bilstm" != "runs/imdb_elman"',
                'model.cell: "lstm" != "elman"',
                "model.double_bias: true != false",
            ],
        ),
    ],
)
def test_how_the_other_recipes_differ(cell, expected):
    reference = load_config(ROOT / "configs/imdb_bilstm.toml", [])
    assert differences(reference, load_config(ROOT / f"configs/imdb_{cell}.toml", [])) == expected


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_a_shipped_config_opens_with_its_command(path):
    text = path.read_text()
    header = text[: text.index("\n\n")]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"python -m jaxrnn.train configs/{path.name}" in header
    assert tomllib.loads(text)["run_dir"] == f"runs/{path.stem}"
