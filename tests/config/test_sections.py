"""The settings of all applications: their schema, and how they are written, compared and explained."""

import dataclasses
import math
import re
import subprocess
import sys
from itertools import pairwise
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrnn import applications
from jaxrnn.applications import load_config
from jaxrnn.config import (
    DataConfig,
    DevicesConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    describe_keys,
    differences,
    schema_of,
    to_toml,
)
from jaxrnn.config import schema as rules
from jaxrnn.errors import InputError

TASKS = list(applications.REGISTRY)
COMMON = {"task", "seed", "run_dir", "data.source", "model.cell", "train.max_steps", "devices.per_process"}


# ---- the schema


def test_config_is_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config(None, []).seed = 1
    with pytest.raises(TypeError):
        ModelConfig("gru")
    assert not hasattr(OptimConfig(), "__dict__")


@pytest.mark.parametrize("task", TASKS)
def test_every_setting_has_a_help_that_stands_alone_and_an_optional_one_defaults_to_none(task):
    config = applications.get(task).config
    keys = schema_of(config).keys
    assert config().task == task
    assert set(keys) > COMMON
    for key, spec in keys.items():
        assert re.fullmatch(r"[A-Z0-9].*[^.]", spec.help), key
        # to_toml cannot write None, so that None must be what a missing key means.
        assert spec.optional == (spec.default is None), key


@pytest.mark.parametrize("task", TASKS)
def test_the_defaults_of_an_application_are_its_own(task):
    """A section that an application replaces shows the application's defaults, in `--help` as in a run."""
    config = applications.get(task).config
    for key, spec in schema_of(config).keys.items():
        assert spec.default == attrgetter(key)(config()), key


WHOLE = "an integer from 1 to 2147483647"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"model": ModelConfig(hidden=0)}, ["model.hidden", WHOLE, "0"]),
        ({"model": ModelConfig(hidden=True)}, ["model.hidden", WHOLE, "true"]),
        ({"model": ModelConfig(hidden=64.0)}, ["model.hidden", WHOLE, "64.0"]),
        ({"model": ModelConfig(cell="rnn")}, ["model.cell", '"lstm", "gru", "elman"', "'rnn'"]),
        ({"model": ModelConfig(dropout_rate=1.0)}, ["model.dropout_rate", "from 0 to below 1", "1.0"]),
        ({"model": ModelConfig(double_bias=1)}, ["model.double_bias", "true or false", "1"]),
        ({"model": ModelConfig(num_layers=None)}, ["model.num_layers", "from 1 to 100", "none"]),
        ({"data": DataConfig(source="a", validation_fraction=0.0)}, ["data.validation_fraction", "above 0", "0.0"]),
        ({"data": DataConfig(source="a", test_fraction=1)}, ["data.test_fraction", "below 1", "1"]),
        ({"data": DataConfig(source="a", max_train_examples=0)}, ["data.max_train_examples", WHOLE, "or none", "0"]),
        ({"optim": OptimConfig(learning_rate=0.0)}, ["optim.learning_rate", "finite number above 0", "0.0"]),
        ({"optim": OptimConfig(learning_rate=math.nan)}, ["optim.learning_rate", "finite number above 0", "nan"]),
        ({"optim": OptimConfig(max_grad_norm=math.inf)}, ["optim.max_grad_norm", "finite", "or none", "inf"]),
        ({"train": TrainConfig(checkpoint_every_seconds=-1.0)}, ["train.checkpoint_every_seconds:", "least 0", "-1.0"]),
        ({"optim": OptimConfig(weight_decay=0.1)}, ["optim.weight_decay", "0 for adam", "0.1"]),
        ({"optim": OptimConfig(ema_decay=0.9, average_epochs=3)}, ["optim.average_epochs", "ema_decay", "3"]),
        ({"devices": DevicesConfig(divide="rows")}, ["devices.divide", '"embedding", "hidden", "both"', "'rows'"]),
        ({"seed": -1}, ["seed", "0 to 4294967295", "-1"]),
        ({"seed": 2**32}, ["seed", "0 to 4294967295", "4294967296"]),
        ({"seed": 2**32 - 1, "train": TrainConfig(seeds=2)}, ["seed", "0 to 4294967295", "4294967296"]),
        ({"run_dir": " "}, ["run_dir", "NUL", "' '"]),
        ({"run_dir": "a\0"}, ["run_dir", "NUL", "'a\\x00'"]),
        ({"run_dir": "\udcff"}, ["run_dir", "Unicode", "'\\udcff'"]),
    ],
)  # fmt: skip
def test_values_are_checked_when_a_config_is_built(section, words):
    with pytest.raises(InputError) as caught:
        RunConfig(**{"task": "a", "data": DataConfig(source="a")} | section)
    assert all(word in str(caught.value) for word in words), caught.value


def test_values_at_the_limits_are_accepted():
    RunConfig(
        task="a",
        seed=2**32 - 1,
        data=DataConfig(source="a", max_train_examples=1, validation_fraction=1e-9, max_shapes=2**31 - 1),
        model=ModelConfig(dropout_rate=0.0),
        optim=OptimConfig(learning_rate=5e-324, max_grad_norm=sys.float_info.max),
        train=TrainConfig(checkpoint_every_seconds=0.0, max_steps=1),
    )
    assert load_config(None, ["seed=0"]).seed == 0


def test_the_split_follows_its_own_seed():
    assert load_config(None, ["seed=3"]).split_seed == 3
    assert load_config(None, ["seed=3", "data.split_seed=0"]).split_seed == 0


def test_config_needs_neither_jax_nor_a_package():
    code = "import sys, jaxrnn.config; print(sorted({'jax', 'numpy', 'flax', 'jaxrnn.core'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---- writing

POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
ODD_TEXTS = st.sampled_from(['a "quoted" \\ back\\slash # not a comment\t\n\r\x01\x7f\x85\u2028 ünï 🙂', "none", "'"])
VALUES = {
    rules.COUNT: st.integers(1, 2**31 - 1),
    rules.LAYERS: st.integers(1, 100),
    rules.NOT_NEGATIVE_COUNT: st.integers(0, 2**31 - 1),
    rules.SEED: st.integers(0, 2**32 - 1),
    rules.FRACTION: st.floats(0, 1, exclude_min=True, exclude_max=True),
    rules.RATE: st.floats(0, 1, exclude_max=True),
    rules.POSITIVE: POSITIVE | st.integers(1, 2**31 - 1),
    rules.NOT_NEGATIVE: st.floats(min_value=0, allow_infinity=False),
    rules.TEXT: TEXTS | ODD_TEXTS,
}


def values_of(spec):
    """All that a setting may be; of a rule that an application has of its own the default alone."""
    if spec.choices:
        values = st.sampled_from(spec.choices)
    elif spec.type is bool:
        values = st.booleans()
    else:
        values = VALUES.get(spec.rule, st.just(spec.default))
    return values | st.none() if spec.optional else values


@st.composite
def configs(draw, task=None):
    """Configs of any application, with up to a dozen settings that are not the defaults."""
    config = applications.get(task or draw(st.sampled_from(TASKS))).config
    schema = schema_of(config)
    free = [key for key in schema.keys if key not in ("task", "seed", "train.seeds")]
    sections = {"": {"seed": draw(st.integers(0, 2**31))}}
    for key in draw(st.lists(st.sampled_from(free), unique=True, max_size=12)):
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = draw(values_of(schema.keys[key]))
    parts = {name: dataclasses.replace(schema.sections[name], **sections[name]) for name in sections if name}
    try:
        return config(**sections[""], **parts)
    except InputError:  # settings that contradict each other
        return config(**sections[""])


@settings(deadline=None, max_examples=30)
@given(configs())
def test_written_config_reads_back_equal(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "written.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert load_config(path, []) == config
    assert to_toml(load_config(path, [])) == to_toml(load_config(path, [f"model.hidden={config.model.hidden}"]))


@settings(deadline=None, max_examples=30)
@given(configs())
def test_overrides_can_say_everything_a_config_can(config):
    values = {key: attrgetter(key)(config) for key in schema_of(type(config)).keys}
    overrides = [
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={'none' if value is None else value}"
        for key, value in values.items()
    ]
    assert load_config(None, overrides) == config


@settings(deadline=None, max_examples=30)
@given(configs("classification"), configs("classification"))
def test_differences_names_exactly_the_keys_whose_values_differ(a, b):
    expected = [key for key in schema_of(type(a)).keys if attrgetter(key)(a) != attrgetter(key)(b)]
    assert [line.partition(":")[0] for line in differences(a, b)] == expected
    assert differences(a, a) == []


def test_written_config_explains_each_key_and_keeps_unset_ones_as_comments():
    config = load_config(None, ["seed=42", "model.hidden=64", "optim.learning_rate=2e-3"])
    helps = {key: spec.help for key, spec in schema_of(type(config)).keys.items()}
    lines = to_toml(config).splitlines()
    assert f"seed = 42  # {helps['seed']}" in lines
    assert {"[data]", "[model]", "[optim]", "[train]", "[devices]"} <= set(lines)
    assert f"# max_steps: none  # {helps['train.max_steps']}" in lines
    assert f"hidden = 64  # {helps['model.hidden']}" in lines
    assert f"learning_rate = 0.002  # {helps['optim.learning_rate']}" in lines


@pytest.mark.parametrize("task", TASKS)
def test_help_has_a_line_for_each_key_in_columns_section_by_section(task):
    keys = schema_of(applications.get(task).config).keys
    lines = describe_keys(applications.get(task).config).splitlines()
    rows = {line.split()[0]: line for line in lines if line and not line.startswith("[")}
    assert list(rows) == list(keys)
    assert rows["model.cell"].split()[:2] == ["model.cell", "lstm|gru|elman"]
    assert re.split("  +", rows["train.max_steps"])[1:3] == ["int or none", "none"]
    assert len({rows[key].index(spec.help) for key, spec in keys.items()}) == 1
    assert max(map(len, lines)) <= 190
    for line, after in pairwise(lines):
        if line.startswith("["):
            assert after.startswith(line.strip("[]") + ".")
