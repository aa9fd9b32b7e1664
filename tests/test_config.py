"""The schema, the strict loader and its messages, and the configs that ship."""

import dataclasses
import math
import re
import subprocess
import sys
import tomllib
from operator import attrgetter
from pathlib import Path

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

ROOT = Path(__file__).parent.parent
SECTIONS = [("", Config), *((name, type(getattr(Config(), name))) for name in ("data", "vectors", "model", "optim"))]
SECTIONS += [("train", TrainConfig), ("devices", DevicesConfig)]
KEYS = {
    f"{section}.{each.name}".lstrip("."): each
    for section, cls in SECTIONS
    for each in dataclasses.fields(cls)
    if each.metadata
}


def refused(overrides=(), path=None):
    """The one line that a wrong input ends with."""
    with pytest.raises(InputError) as caught:
        load_config(path, [overrides] if isinstance(overrides, str) else overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "given.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


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
            {"devices": DevicesConfig(model_parallel=3)},
            "devices.model_parallel: expected a divisor of model.embedding = 64, got 3",
        ),
        (
            {"devices": DevicesConfig(model_parallel=4, divide="both"), "model": ModelConfig(hidden=6)},
            "devices.model_parallel: expected a divisor of model.hidden = 6, got 4",
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


# ---- overrides


def test_no_file_and_no_override_is_the_default():
    assert load_config(None, []) == Config()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.hidden=128", 128),
        ("model.hidden=1_000", 1000),
        ("model.hidden=+7", 7),
        (" model.hidden = 9 ", 9),
        ("optim.learning_rate=1e-3", 0.001),
        ("optim.learning_rate=1", 1.0),
        ("optim.max_grad_norm=.5", 0.5),
        ("optim.max_grad_norm=none", None),
        ("model.bidirectional=false", False),
        ("model.bidirectional=True", True),
        ("model.cell=gru", "gru"),
        ('model.cell="gru"', "gru"),
        ("train.max_steps=none", None),
        ("train.max_steps=None", None),
        ("train.max_steps=3", 3),
        ("data.source=stanfordnlp/imdb", "stanfordnlp/imdb"),
        ("data.source=a=b.csv", "a=b.csv"),
        ("data.source=C:\\new\\texts", "C:\\new\\texts"),
        ("data.source='two words'", "two words"),
        ("data.source=' padded'", " padded"),
        ("data.source=don't", "don't"),
        ("data.source=none", "none"),  # not optional: a name like any other
        ("data.source=64", "64"),
        ("vectors.path=none", None),
        ('vectors.path="none"', "none"),
    ],
)
def test_override_is_read_by_the_type_of_its_key(override, expected):
    value = attrgetter(override.partition("=")[0].strip())(load_config(None, [override]))
    assert value == expected
    assert type(value) is type(expected)


def test_an_override_changes_its_key_alone_and_the_last_one_wins():
    config = load_config(None, ["model.hidden=8", "run_dir=out", "model.hidden=9"])
    assert config == Config(run_dir="out", model=ModelConfig(hidden=9))


COUNT = "expected an integer from 1 to 2147483647"
POOLINGS = "one or more of last, mean, max, attention, separated by commas, none twice"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hiden=3", "unknown key 'model.hiden', did you mean 'model.hidden'?"),
        ("hidden=3", "unknown key 'hidden', did you mean 'model.hidden'?"),
        ("hiden=3", "unknown key 'hiden', did you mean 'model.hidden'?"),
        ("train.hidden=3", "unknown key 'train.hidden', did you mean 'model.hidden'?"),
        ("modle.hidden=3", "unknown key 'modle.hidden', did you mean 'model.hidden'?"),
        ("train.max_step=3", "unknown key 'train.max_step', did you mean 'train.max_steps'?"),
        ("modell=3", "unknown key 'modell', did you mean 'model'?"),
        ("lr=3", "unknown key 'lr'; --help lists them all"),
        ("=3", "unknown key ''; --help lists them all"),
        ("a\nb=3", "unknown key 'a\\nb'; --help lists them all"),
        ("model=3", "'model' is a section: set one of its keys, such as 'model.cell'"),
        ("vectors=glove.zip", "'vectors' is a section: set one of its keys, such as 'vectors.path'"),
        ("model.hidden.x=3", "unknown key 'model.hidden.x', did you mean 'model.hidden'?"),
        ("model.hidden", "'model.hidden': expected key=value"),
        ("--json", "'--json': expected key=value"),
        ("model.hidden=", f"model.hidden: {COUNT}, got ''"),
        ("model.hidden=many", f"model.hidden: {COUNT}, got 'many'"),
        ("model.hidden=64.0", f"model.hidden: {COUNT}, got '64.0'"),
        ("model.hidden=1e3", f"model.hidden: {COUNT}, got '1e3'"),
        ("model.hidden=true", f"model.hidden: {COUNT}, got 'true'"),
        ("model.hidden=none", f"model.hidden: {COUNT}, got 'none'"),
        ("model.hidden=-64", f"model.hidden: {COUNT}, got -64"),
        ("model.hidden=3+4", f"model.hidden: {COUNT}, got '3+4'"),
        ("model.hidden=" + "9" * 30, f"model.hidden: {COUNT}, got an integer beyond 64 bits"),
        ("model.hidden=" + "9" * 9999, f"model.hidden: {COUNT}, got '" + "9" * 76 + "..."),
        ("train.max_steps=0", f"train.max_steps: {COUNT} or none, got 0"),
        ("model.bidirectional=1", "model.bidirectional: expected true or false, got '1'"),
        ("model.bidirectional=yes", "model.bidirectional: expected true or false, got 'yes'"),
        ("model.cell=LSTM", """model.cell: expected one of "lstm", "gru", "elman", got 'LSTM'"""),
        ("model.pooling=max,sum", f"model.pooling: expected {POOLINGS}, got 'max,sum'"),
        ("model.pooling=max,max", f"model.pooling: expected {POOLINGS}, got 'max,max'"),
        ("model.pooling=", f"model.pooling: expected {POOLINGS}, got ''"),
        ("model.dtype=float16", """model.dtype: expected one of "float32", "bfloat16", got 'float16'"""),
        ("optim.learning_rate=fast", "optim.learning_rate: expected a finite number above 0, got 'fast'"),
        ("optim.learning_rate=nan", "optim.learning_rate: expected a finite number above 0, got nan"),
        ("optim.learning_rate=1e999", "optim.learning_rate: expected a finite number above 0, got inf"),
        ("optim.learning_rate=-inf", "optim.learning_rate: expected a finite number above 0, got -inf"),
        ("optim.learning_rate=true", "optim.learning_rate: expected a finite number above 0, got 'true'"),
        ("data.source=", "data.source: expected a string of valid Unicode, neither empty nor with NUL, got ''"),
    ],
)
def test_a_wrong_override_is_one_line_that_says_what_would_be_right(override, message):
    assert refused(override) == message


# ---- files


def test_file_then_overrides_in_order(write):
    path = write('seed = 7\nmodel = { cell = "gru", hidden = 0x10 }\noptim.learning_rate = 1\n[vectors]\npath = "a"\n')
    expected = Config(
        seed=7,
        model=ModelConfig(cell="gru", hidden=16),
        optim=OptimConfig(learning_rate=1.0),
        vectors=VectorsConfig(path="a"),
    )
    assert load_config(path, []) == expected
    assert type(load_config(path, []).optim.learning_rate) is float
    config = load_config(path, ["model.hidden=3", "vectors.path=none"])
    assert differences(expected, config) == ['vectors.path: "a" != none', "model.hidden: 16 != 3"]


def test_a_file_needs_no_suffix_and_may_be_empty_or_begin_with_a_byte_order_mark(tmp_path, write):
    bare = tmp_path / "bare"
    bare.write_text("seed = 1")
    assert load_config(bare, []) == Config(seed=1)
    assert load_config(write(""), []) == Config()
    assert load_config(write("[model]\n[train]\n"), []) == Config()
    assert load_config(write(b"\xef\xbb\xbfseed = 1\r\n"), []) == Config(seed=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[model]\nhiden = 3", "unknown key 'model.hiden', did you mean 'model.hidden'?"),
        ("hidden = 3", "unknown key 'hidden', did you mean 'model.hidden'?"),
        ("[modle]\nhidden = 3", "unknown key 'modle', did you mean 'model'?"),
        ("[model.hidden]\nsize = 3", f"model.hidden: {COUNT}, got a section"),
        ("model = 3", "'model' is a section: set one of its keys, such as 'model.cell'"),
        ("[[model]]\nhidden = 3", "'model' is a section: set one of its keys, such as 'model.cell'"),
        ('"model.hidden" = 3', "'model.hidden': write the key without quotes"),
        ("model.hidden = 3.0", f"model.hidden: {COUNT}, got 3.0"),
        ("model.hidden = true", f"model.hidden: {COUNT}, got true"),
        ('model.hidden = "64"', f"model.hidden: {COUNT}, got '64'"),
        ("model.hidden = [64]", f"model.hidden: {COUNT}, got an array"),
        ("model.hidden = 0x" + "f" * 9999, f"model.hidden: {COUNT}, got an integer beyond 64 bits"),
        ("model.bidirectional = 1", "model.bidirectional: expected true or false, got 1"),
        ("model.cell = [0x" + "f" * 9999 + "]", 'model.cell: expected one of "lstm", "gru", "elman", got an array'),
        ("optim.learning_rate = true", "optim.learning_rate: expected a finite number above 0, got true"),
        ("optim.learning_rate = nan", "optim.learning_rate: expected a finite number above 0, got nan"),
        ("optim.learning_rate = inf", "optim.learning_rate: expected a finite number above 0, got inf"),
        (
            "optim.learning_rate = 0x" + "f" * 999,
            "optim.learning_rate: expected a finite number above 0, got an integer beyond 64 bits",
        ),
        (
            'run_dir = "a\\u0000"',
            "run_dir: expected a string of valid Unicode, neither empty nor with NUL, got 'a\\x00'",
        ),
        (
            "run_dir = 2026-01-02",
            "run_dir: expected a string of valid Unicode, neither empty nor with NUL, got datetime.date(2026, 1, 2)",
        ),
        ("seed 1", "not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 6)"),
        ("seed = 1\nseed = 2\n", "not valid TOML: Cannot overwrite a value (at line 2, column 9)"),
        ("seed = 1\nrun_dir = runs", "not valid TOML: Invalid value (at line 2, column 11)"),
        (b"run_dir = 'caf\xe9'", "not UTF-8 text: byte 0xe9 at 14"),
    ],
)
def test_a_wrong_file_is_one_line_that_begins_with_its_path(write, content, message):
    path = write(content)
    assert refused(path=path) == f"{path}: {message}"


def test_a_wrong_value_in_a_file_is_refused_even_if_an_override_replaces_it(write):
    path = write("model.hidden = 0")
    assert refused("model.hidden=3", path) == f"{path}: model.hidden: {COUNT}, got 0"


def test_nesting_too_deep_for_the_parser_is_refused(write):
    path = write("seed = " + "[" * 100_000)
    assert refused(path=path).startswith(f"{path}: not valid TOML: ")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    missing = tmp_path / "model.hidden"
    assert refused(path=missing) == f"{missing}: no such config file (overrides are written key=value)"
    assert refused(path=tmp_path) == f"{tmp_path}: cannot be read as a config file: Is a directory"


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
            test_fraction=fractions,
            strip_html=st.booleans(),
            max_tokens=counts,
            truncate=st.sampled_from(["head", "tail", "both"]),
            head_fraction=fractions,
            lowercase=st.booleans(),
            vocabulary_size=st.integers(0, 2**31 - 1),
            min_count=counts,
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
            ema_decay=st.none() | fractions,
            skip_nonfinite=st.integers(0, 2**31 - 1),
        ),
        train=st.builds(
            TrainConfig,
            epochs=counts,
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


# ---- the configs that ship


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


def test_doctests():
    import doctest

    assert doctest.testmod(config_module) == doctest.TestResults(failed=0, attempted=1)
