"""The schema, and how a config is written, compared and explained."""

import dataclasses
import math
import re
import subprocess
import sys
from operator import attrgetter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxrnn import config as config_module
from jaxrnn.config import (
    Config,
    DataConfig,
    DevicesConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    VectorsConfig,
    describe_keys,
    differences,
    load_config,
    to_toml,
)
from jaxrnn.errors import InputError

SECTIONS = [("", Config), *((name, type(getattr(Config(), name))) for name in ("data", "vectors", "model", "optim"))]
SECTIONS += [("train", TrainConfig), ("devices", DevicesConfig)]
KEYS = {
    f"{section}.{each.name}".lstrip("."): each
    for section, cls in SECTIONS
    for each in dataclasses.fields(cls)
    if each.metadata
}


# ---- the schema


def test_config_is_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1
    with pytest.raises(TypeError):
        ModelConfig("gru")
    assert not hasattr(Config(), "__dict__")


def test_every_setting_has_a_one_line_help_and_an_optional_one_defaults_to_none():
    assert {"seed", "run_dir", "data.source", "vectors.path", "model.cell", "train.max_steps"} < set(KEYS)
    for key, each in KEYS.items():
        assert each.metadata["help"], key
        assert "\n" not in each.metadata["help"], key
        # to_toml cannot write None, so that None must be what a missing key means.
        assert ("None" in str(each.type)) == (each.default is None), key


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"model": ModelConfig(hidden=0)}, "model.hidden: expected an integer from 1 to 2147483647, got 0"),
        ({"model": ModelConfig(hidden=True)}, "model.hidden: expected an integer from 1 to 2147483647, got true"),
        ({"model": ModelConfig(hidden=64.0)}, "model.hidden: expected an integer from 1 to 2147483647, got 64.0"),
        (
            {"model": ModelConfig(cell="rnn")},
            """model.cell: expected one of "lstm", "gru", "elman", got 'rnn'""",
        ),
        ({"model": ModelConfig(dropout_rate=1.0)}, "model.dropout_rate: expected a number from 0 to below 1, got 1.0"),
        ({"model": ModelConfig(bidirectional=1)}, "model.bidirectional: expected true or false, got 1"),
        (
            {"model": ModelConfig(num_layers=None)},
            "model.num_layers: expected an integer from 1 to 2147483647, got none",
        ),
        (
            {"data": DataConfig(validation_fraction=0.0)},
            "data.validation_fraction: expected a number above 0 and below 1, got 0.0",
        ),
        ({"data": DataConfig(test_fraction=1)}, "data.test_fraction: expected a number above 0 and below 1, got 1"),
        (
            {"data": DataConfig(max_train_examples=0)},
            "data.max_train_examples: expected an integer from 1 to 2147483647 or none, got 0",
        ),
        ({"optim": OptimConfig(learning_rate=0.0)}, "optim.learning_rate: expected a finite number above 0, got 0.0"),
        (
            {"optim": OptimConfig(learning_rate=math.nan)},
            "optim.learning_rate: expected a finite number above 0, got nan",
        ),
        (
            {"optim": OptimConfig(max_grad_norm=math.inf)},
            "optim.max_grad_norm: expected a finite number above 0 or none, got inf",
        ),
        (
            {"train": TrainConfig(checkpoint_every_seconds=-1.0)},
            "train.checkpoint_every_seconds: expected a finite number of at least 0, got -1.0",
        ),
        (
            {"optim": OptimConfig(weight_decay=0.1)},
            "optim.weight_decay: expected 0 for adam (adamw has it), got 0.1",
        ),
        (
            {"optim": OptimConfig(ema_decay=0.9, average_epochs=3)},
            "optim.average_epochs: expected none with ema_decay, got 3",
        ),
        (
            {"data": DataConfig(unlabelled=True)},
            "optim.virtual_adversarial: expected a norm with data.unlabelled = true, got none",
        ),
        (
            {"task": "language_modelling", "data": DataConfig(unlabelled=True)},
            "data.unlabelled: expected false with task = language_modelling, got true",
        ),
        (
            {"devices": DevicesConfig(model_parallel=3)},
            "devices.model_parallel: expected a divisor of model.embedding = 64, got 3",
        ),
        (
            {"devices": DevicesConfig(model_parallel=4, divide="both"), "model": ModelConfig(hidden=6)},
            "devices.model_parallel: expected a divisor of model.hidden = 6, got 4",
        ),
        (
            {
                "devices": DevicesConfig(model_parallel=4),
                "data": DataConfig(ngrams=2),
                "model": ModelConfig(ngram_features=6),
            },
            "devices.model_parallel: expected a divisor of model.ngram_features = 6, got 4",
        ),
        ({"seed": -1}, "seed: expected an integer from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "seed: expected an integer from 0 to 4294967295, got 4294967296"),
        ({"run_dir": " "}, "run_dir: expected a string of valid Unicode, neither empty nor with NUL, got ' '"),
        ({"run_dir": "a\0"}, "run_dir: expected a string of valid Unicode, neither empty nor with NUL, got 'a\\x00'"),
        (
            {"vectors": VectorsConfig(path="\udcff")},
            "vectors.path: expected a string of valid Unicode, neither empty nor with NUL or none, got '\\udcff'",
        ),
    ],
)
def test_values_are_checked_when_a_config_is_built(section, message):
    with pytest.raises(InputError) as caught:
        Config(**section)
    assert str(caught.value) == message


def test_values_at_the_limits_are_accepted():
    config = Config(
        seed=2**32 - 1,
        data=DataConfig(max_train_examples=1, validation_fraction=1e-9, max_tokens=2**31 - 1),
        model=ModelConfig(dropout_rate=0.0),
        optim=OptimConfig(learning_rate=5e-324, max_grad_norm=sys.float_info.max),
        train=TrainConfig(checkpoint_every_seconds=0.0, max_steps=1),
    )
    assert load_config(None, ["seed=0"]).seed == 0
    assert config.data.max_tokens == 2147483647


def test_config_needs_neither_jax_nor_a_package():
    code = "import sys, jaxrnn.config; print(sorted({'jax', 'numpy', 'flax', 'jaxrnn.core'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---- writing


def configs():
    """Every config that can be built."""
    counts = st.integers(1, 2**31 - 1)
    positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
    fractions = st.floats(0, 1, exclude_min=True, exclude_max=True)
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    texts = st.text(characters, min_size=1).filter(str.strip)
    return st.builds(
        Config,
        seed=st.integers(0, 2**32 - 1),
        run_dir=texts,
        data=st.builds(
            DataConfig,
            source=texts,
            max_train_examples=st.none() | counts,
            validation_fraction=fractions,
            split_seed=st.none() | st.integers(0, 2**32 - 1),
            test_fraction=fractions,
            strip_html=st.booleans(),
            max_tokens=counts,
            truncate=st.sampled_from(["head", "tail", "both"]),
            head_fraction=fractions,
            lowercase=st.booleans(),
            vocabulary_size=st.integers(0, 2**31 - 1),
            min_count=counts,
            subwords=st.integers(0, 2**31 - 1),
            ngrams=counts,
            ngram_vocabulary_size=st.integers(0, 2**31 - 1),
            ngram_min_count=counts,
            max_shapes=counts,
            cache_dir=texts,
        ),
        vectors=st.builds(VectorsConfig, path=st.none() | texts),
        model=st.builds(
            ModelConfig,
            cell=st.sampled_from(["lstm", "gru", "elman"]),
            embedding=counts,
            ngram_features=counts,
            hidden=counts,
            num_layers=counts,
            bidirectional=st.booleans(),
            dropout_rate=st.floats(0, 1, exclude_max=True),
            embedding_dropout_rate=st.none() | st.floats(0, 1, exclude_max=True),
            word_dropout_rate=st.floats(0, 1, exclude_max=True),
            normalize_embedding=st.booleans(),
            pooling=st.sampled_from(["last", "mean", "max", "attention", "max,mean,last", "mean, attention"]),
            attention=st.sampled_from(["additive", "dot"]),
            init=st.sampled_from(["orthogonal", "torch"]),
            dtype=st.sampled_from(["float32", "bfloat16"]),
        ),
        optim=st.builds(
            OptimConfig,
            optimizer=st.sampled_from(["adamw", "sgd", "lion"]),  # adam refuses weight decay
            learning_rate=positive | counts,
            schedule=st.sampled_from(["constant", "cosine", "linear", "plateau"]),
            warmup_steps=st.integers(0, 2**31 - 1),
            plateau_patience=counts,
            plateau_factor=fractions,
            momentum=st.floats(0, 1, exclude_max=True),
            weight_decay=st.floats(min_value=0, allow_infinity=False),
            decay_embedding=st.booleans(),
            max_grad_norm=st.none() | positive,
            accumulate_steps=counts,
            label_smoothing=st.floats(0, 1, exclude_max=True),
            adversarial=st.none() | positive,
            virtual_adversarial=st.none() | positive,
            ema_decay=st.none() | fractions,
            skip_nonfinite=st.integers(0, 2**31 - 1),
        ),
        train=st.builds(
            TrainConfig,
            epochs=counts,
            seeds=counts,
            max_steps=st.none() | counts,
            batch_size=counts,
            patience=st.none() | counts,
            checkpoint_every_seconds=st.floats(min_value=0, allow_infinity=False),
            checkpoint_every_steps=st.none() | counts,
            keep_checkpoints=counts,
            tensorboard=st.booleans(),
            profile_steps=st.none() | counts,
        ),
        devices=st.builds(
            DevicesConfig,
            per_process=st.none() | counts,
            divide=st.sampled_from(["embedding", "hidden", "both"]),
            coordinator=st.none() | texts,
            num_processes=st.none() | counts,
            process=st.none() | st.integers(0, 2**31 - 1),
        ),
    )


@settings(deadline=None)
@given(configs())
@example(Config(run_dir='a "quoted" \\ back\\slash # not a comment\t\n\r\x01\x7f\x85\u2028 ünï 🙂'))
@example(Config(vectors=VectorsConfig(path="none"), optim=OptimConfig(learning_rate=1e-3)))
def test_written_config_reads_back_equal(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "written.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert load_config(path, []) == config
    assert to_toml(load_config(path, [])) == to_toml(load_config(path, ["model.hidden=" + str(config.model.hidden)]))


@settings(deadline=None)
@given(configs())
def test_overrides_can_say_everything_a_config_can(config):
    values = {key: attrgetter(key)(config) for key in KEYS}
    overrides = [
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={'none' if value is None else value}"
        for key, value in values.items()
    ]
    assert load_config(None, overrides) == config


@settings(deadline=None)
@given(configs(), configs())
def test_differences_names_exactly_the_keys_whose_values_differ(a, b):
    expected = [key for key in KEYS if attrgetter(key)(a) != attrgetter(key)(b)]
    assert [line.partition(":")[0] for line in differences(a, b)] == expected
    assert differences(a, a) == []


def test_differences_are_written_as_in_the_file():
    one = Config(vectors=VectorsConfig(path="glove"), model=ModelConfig(hidden=256, bidirectional=False))
    other = Config(model=ModelConfig(hidden=64, bidirectional=True))
    assert differences(one, other) == [
        'vectors.path: "glove" != none',
        "model.hidden: 256 != 64",
        "model.bidirectional: false != true",
    ]


def test_written_config_explains_each_key_and_keeps_unset_ones_as_comments():
    config = Config(seed=42, model=ModelConfig(hidden=64), optim=OptimConfig(learning_rate=2e-3))
    lines = to_toml(config).splitlines()
    assert "seed = 42  # of the split, the order, the weights and dropout" in lines
    assert [line for line in lines if line.startswith("[")] == [
        "[data]", "[vectors]", "[model]", "[optim]", "[train]", "[devices]",
    ]  # fmt: skip
    assert "# max_steps: none  # stop after this many steps" in lines
    assert "hidden = 64  # hidden features a direction" in lines
    assert "learning_rate = 0.002  # step size, the highest of the schedule" in lines


def test_help_has_a_line_for_each_key_in_columns():
    lines = describe_keys().splitlines()
    assert [line.split()[0] for line in lines] == list(KEYS)
    rows = {line.split()[0]: line for line in lines}
    assert re.split("  +", rows["model.cell"]) == ["model.cell", "lstm|gru|elman", '"lstm"', "kind of recurrent layer"]
    assert re.split("  +", rows["data.lowercase"])[1:3] == ["bool", str(Config().data.lowercase).lower()]
    assert re.split("  +", rows["train.max_steps"])[1:3] == ["int or none", "none"]
    assert re.split("  +", rows["optim.learning_rate"])[1:3] == ["float", repr(Config().optim.learning_rate)]
    assert len({line.index(each.metadata["help"]) for line, each in zip(lines, KEYS.values(), strict=True)}) == 1
    assert max(map(len, lines)) <= 160


def test_doctests():
    import doctest

    assert doctest.testmod(config_module) == doctest.TestResults(failed=0, attempted=1)
