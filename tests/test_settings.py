"""The strict reader: overrides and files, and the one line that a wrong one ends with."""

from operator import attrgetter

import pytest

from jaxrnn.config import (
    Config,
    ModelConfig,
    OptimConfig,
    VectorsConfig,
    differences,
    load_config,
)
from jaxrnn.errors import InputError


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
