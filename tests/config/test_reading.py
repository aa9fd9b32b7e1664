"""The strict reader: overrides and files, and the one line that a wrong one ends with."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import pytest

from jaxrnn.config import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    differences,
    option,
    read_config,
    schema_of,
    some_of,
)
from jaxrnn.config.schema import COUNT, TEXT
from jaxrnn.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class TextData(DataConfig):
    source: str = option("news", "Texts", TEXT)
    lowercase: bool = option(True, "Convert to lower case")


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorsConfig:
    path: str | None = option(None, "Word vectors", TEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextModel(ModelConfig):
    bidirectional: bool = option(True, "Read in both directions")
    pooling: str = option("mean", "What represents a text", some_of("last", "mean", "max", "attention"))


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig(RunConfig):
    task: str = option("texts", "Application that is trained", TEXT)
    data: TextData = TextData()
    vectors: VectorsConfig = VectorsConfig()
    model: TextModel = TextModel()

    def check(self):
        if self.vectors.path == "news":
            raise InputError("vectors.path: expected vectors, got texts")


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesData(DataConfig):
    source: str = option("rivers", "Series", TEXT)
    horizon: int = option(7, "Steps ahead", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    kind: Literal["squared", "absolute"] = option("squared", "Kind of error")


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesConfig(RunConfig):
    task: str = option("series", "Application that is trained", TEXT)
    data: SeriesData = SeriesData()
    loss: LossConfig = LossConfig()


CONFIGS = {"texts": TextConfig, "series": SeriesConfig}


def config_of(task):
    if task not in CONFIGS:
        raise InputError(f"task: expected one of {', '.join(CONFIGS)}, got {task!r}")
    return CONFIGS[task]


def tasks_with(key):
    return [task for task, config in CONFIGS.items() if key in schema_of(config)]


def load(path, overrides):
    return read_config(path, overrides, config_of=config_of, default_task="texts", tasks_with=tasks_with)


def assert_refused(words, overrides=(), path=None):
    """A wrong input ends with one line in which these words come, in this order."""
    with pytest.raises(InputError) as caught:
        load(path, [overrides] if isinstance(overrides, str) else overrides)
    message = str(caught.value)
    assert "\n" not in message
    place = 0
    for word in words:
        assert word in message[place:], (word, message)
        place = message.index(word, place) + len(word)


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "given.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# ---- overrides


def test_no_file_and_no_override_is_the_default():
    assert load(None, []) == TextConfig()


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
    value = attrgetter(override.partition("=")[0].strip())(load(None, [override]))
    assert value == expected
    assert type(value) is type(expected)


def test_an_override_changes_its_key_alone_and_the_last_one_wins():
    config = load(None, ["model.hidden=8", "run_dir=out", "model.hidden=9"])
    assert config == TextConfig(run_dir="out", model=TextModel(hidden=9))


WHOLE = "an integer from 1 to 2147483647"
NUMBER = "a finite number above 0"
CELLS = '"lstm", "gru", "elman"'
POOLINGS = "last, mean, max, attention"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.hiden=3", ["unknown key 'model.hiden'", "'model.hidden'?"]),
        ("hidden=3", ["unknown key 'hidden'", "'model.hidden'?"]),
        ("hiden=3", ["unknown key 'hiden'", "'model.hidden'?"]),
        ("train.hidden=3", ["unknown key 'train.hidden'", "'model.hidden'?"]),
        ("modle.hidden=3", ["unknown key 'modle.hidden'", "'model.hidden'?"]),
        ("train.max_step=3", ["unknown key 'train.max_step'", "'train.max_steps'?"]),
        ("modell=3", ["unknown key 'modell'", "'model'?"]),
        ("lr=3", ["unknown key 'lr'", "--help"]),
        ("=3", ["unknown key ''", "--help"]),
        ("a\nb=3", ["unknown key 'a\\nb'"]),
        ("model=3", ["'model' is a section", "'model.cell'"]),
        ("vectors=glove.zip", ["'vectors' is a section", "'vectors.path'"]),
        ("model.hidden.x=3", ["unknown key 'model.hidden.x'", "'model.hidden'?"]),
        ("model.hidden", ["'model.hidden'", "key=value"]),
        ("--json", ["'--json'", "key=value"]),
        ("model.hidden=", ["model.hidden:", WHOLE, "''"]),
        ("model.hidden=many", ["model.hidden:", WHOLE, "'many'"]),
        ("model.hidden=64.0", ["model.hidden:", WHOLE, "'64.0'"]),
        ("model.hidden=1e3", ["model.hidden:", WHOLE, "'1e3'"]),
        ("model.hidden=true", ["model.hidden:", WHOLE, "'true'"]),
        ("model.hidden=none", ["model.hidden:", WHOLE, "'none'"]),
        ("model.hidden=-64", ["model.hidden:", WHOLE, "-64"]),
        ("model.hidden=3+4", ["model.hidden:", WHOLE, "'3+4'"]),
        ("model.hidden=" + "9" * 30, ["model.hidden:", WHOLE, "beyond 64 bits"]),
        ("model.hidden=" + "9" * 9999, ["model.hidden:", WHOLE, "'" + "9" * 76 + "..."]),
        ("train.max_steps=0", ["train.max_steps:", WHOLE, "or none", "0"]),
        ("model.bidirectional=1", ["model.bidirectional:", "true or false", "'1'"]),
        ("model.bidirectional=yes", ["model.bidirectional:", "true or false", "'yes'"]),
        ("model.cell=LSTM", ["model.cell:", CELLS, "'LSTM'"]),
        ("model.pooling=max,sum", ["model.pooling:", POOLINGS, "'max,sum'"]),
        ("model.pooling=max,max", ["model.pooling:", POOLINGS, "none twice", "'max,max'"]),
        ("model.pooling=", ["model.pooling:", POOLINGS, "''"]),
        ("model.dtype=float16", ["model.dtype:", '"float32", "bfloat16"', "'float16'"]),
        ("optim.learning_rate=fast", ["optim.learning_rate:", NUMBER, "'fast'"]),
        ("optim.learning_rate=nan", ["optim.learning_rate:", NUMBER, "nan"]),
        ("optim.learning_rate=1e999", ["optim.learning_rate:", NUMBER, "inf"]),
        ("optim.learning_rate=-inf", ["optim.learning_rate:", NUMBER, "-inf"]),
        ("optim.learning_rate=true", ["optim.learning_rate:", NUMBER, "'true'"]),
        ("data.source=", ["data.source:", "a string", "''"]),
        ("task=music", ["task:", "texts, series", "'music'"]),
        ("vectors.path=news", ["vectors.path:"]),  # what the application itself refuses
    ],
)
def test_a_wrong_override_is_one_line_that_says_what_would_be_right(override, words):
    assert_refused(words, override)


# ---- tasks


def test_the_task_decides_which_settings_there_are(write):
    assert type(load(None, ["task=series", "data.horizon=3"])) is SeriesConfig
    assert load(None, ["data.horizon=3", "task='series'"]).data.horizon == 3  # wherever it stands
    path = write('task = "series"\n[loss]\nkind = "absolute"')
    assert load(path, []).loss.kind == "absolute"
    assert type(load(path, ["seed=1"])) is SeriesConfig


@pytest.mark.parametrize(
    ("overrides", "key", "owner"),
    [
        (["data.horizon=3"], "data.horizon", "series"),
        (["loss.kind=absolute"], "loss.kind", "series"),
        (["data.lowercase=false", "task=series"], "data.lowercase", "texts"),
        (["task=series", "vectors.path=a"], "vectors.path", "texts"),
    ],
)
def test_a_key_of_another_task_is_refused_with_the_task_that_has_it(write, overrides, key, owner):
    task = {"series": "texts", "texts": "series"}[owner]
    assert_refused([f"'{key}'", task, owner], overrides)
    path = write(f'task = "{task}"\n{key} = 1')
    section = key.partition(".")[0]  # of a whole section that is another task's the file's message names that
    named = key if section in ("data", "model") else section
    assert_refused([str(path), f"'{named}'", task, owner], path=path)


def test_an_override_of_the_task_makes_the_other_keys_of_a_file_wrong(write):
    path = write('task = "series"\ndata.horizon = 3')
    assert_refused([str(path), "'data.horizon'", "texts", "series"], "task=texts", path)


def test_configs_of_two_tasks_differ_by_the_task():
    (line,) = differences(TextConfig(), SeriesConfig())
    assert line == 'task: "texts" != "series"'


# ---- files


def test_file_then_overrides_in_order(write):
    path = write('seed = 7\nmodel = { cell = "gru", hidden = 0x10 }\noptim.learning_rate = 1\n[vectors]\npath = "a"\n')
    expected = TextConfig(
        seed=7,
        model=TextModel(cell="gru", hidden=16),
        optim=OptimConfig(learning_rate=1.0),
        vectors=VectorsConfig(path="a"),
    )
    assert load(path, []) == expected
    assert type(load(path, []).optim.learning_rate) is float
    config = load(path, ["model.hidden=3", "vectors.path=none"])
    assert differences(expected, config) == ["model.hidden: 16 != 3", 'vectors.path: "a" != none']


def test_a_file_needs_no_suffix_and_may_be_empty_or_begin_with_a_byte_order_mark(tmp_path, write):
    bare = tmp_path / "bare"
    bare.write_text("seed = 1")
    assert load(bare, []) == TextConfig(seed=1)
    assert load(write(""), []) == TextConfig()
    assert load(write("[model]\n[train]\n"), []) == TextConfig()
    assert load(write(b"\xef\xbb\xbfseed = 1\r\n"), []) == TextConfig(seed=1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[model]\nhiden = 3", ["unknown key 'model.hiden'", "'model.hidden'?"]),
        ("hidden = 3", ["unknown key 'hidden'", "'model.hidden'?"]),
        ("[modle]\nhidden = 3", ["unknown key 'modle'", "'model'?"]),
        ("[model.hidden]\nsize = 3", ["model.hidden:", WHOLE, "a section"]),
        ("model = 3", ["'model' is a section", "'model.cell'"]),
        ("[[model]]\nhidden = 3", ["'model' is a section", "'model.cell'"]),
        ('"model.hidden" = 3', ["'model.hidden'", "without quotes"]),
        ("model.hidden = 3.0", ["model.hidden:", WHOLE, "3.0"]),
        ("model.hidden = true", ["model.hidden:", WHOLE, "true"]),
        ('model.hidden = "64"', ["model.hidden:", WHOLE, "'64'"]),
        ("model.hidden = [64]", ["model.hidden:", WHOLE, "an array"]),
        ("model.hidden = 0x" + "f" * 9999, ["model.hidden:", WHOLE, "beyond 64 bits"]),
        ("model.bidirectional = 1", ["model.bidirectional:", "true or false", "1"]),
        ("model.cell = [0x" + "f" * 9999 + "]", ["model.cell:", CELLS, "an array"]),
        ("optim.learning_rate = true", ["optim.learning_rate:", NUMBER, "true"]),
        ("optim.learning_rate = nan", ["optim.learning_rate:", NUMBER, "nan"]),
        ("optim.learning_rate = inf", ["optim.learning_rate:", NUMBER, "inf"]),
        ("optim.learning_rate = 0x" + "f" * 999, ["optim.learning_rate:", NUMBER, "beyond 64 bits"]),
        ('run_dir = "a\\u0000"', ["run_dir:", "NUL", "'a\\x00'"]),
        ("run_dir = 2026-01-02", ["run_dir:", "a string", "2026"]),
        ("task = 3", ["task:", "a string", "3"]),
        ('task = "music"', ["task:", "texts, series", "'music'"]),
        ("seed 1", ["TOML", "line 1, column 6"]),
        ("seed = 1\nseed = 2\n", ["TOML", "line 2, column 9"]),
        ("seed = 1\nrun_dir = runs", ["TOML", "line 2, column 11"]),
        ("seed = " + "[" * 100_000, ["TOML"]),
        (b"run_dir = 'caf\xe9'", ["UTF-8", "0xe9", "14"]),
    ],
)
def test_a_wrong_file_is_one_line_that_begins_with_its_path(write, content, words):
    path = write(content)
    assert_refused([f"{path}: ", *words], path=path)


def test_a_wrong_value_in_a_file_is_refused_even_if_an_override_replaces_it(write):
    path = write("model.hidden = 0")
    assert_refused([f"{path}: model.hidden:", WHOLE, "0"], "model.hidden=3", path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    missing = tmp_path / "model.hidden"
    assert_refused([f"{missing}: no such config file"], path=missing)
    assert_refused([f"{tmp_path}: ", "Is a directory"], path=tmp_path)
