"""Every setting of the trainer: its name, type, default, limits and help, and the strict loader of TOML files.

The schema below is the one place where a default lives; the defaults are the quickstart. `load_config` reads a file,
then `section.key=value` overrides, and refuses whatever it does not know with one line that says what would be right.
A config never changes once it is built: what a run finds out (the vocabulary's real size) is a result, not a setting.
"""

import difflib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from jaxrnn.errors import InputError

T = TypeVar("T")


class Rule(NamedTuple):
    """What the values of a setting must satisfy beyond their type."""

    expected: str  # completes "expected ..."
    accepts: Callable[[Any], bool]


def _is_text(value: str) -> bool:
    # NUL cannot be in a path; lone surrogates (a command line that is not UTF-8) cannot be in a TOML file.
    return bool(value.strip()) and re.search("[\0\ud800-\udfff]", value) is None


# The bounds are comparisons that NaN fails; the largest ones refuse infinity and what int32 or a float cannot hold.
COUNT = Rule(f"an integer from 1 to {2**31 - 1}", lambda value: 1 <= value < 2**31)
NOT_NEGATIVE_COUNT = Rule(f"an integer from 0 to {2**31 - 1}", lambda value: 0 <= value < 2**31)
SEED = Rule(f"an integer from 0 to {2**32 - 1}", lambda value: 0 <= value < 2**32)
FRACTION = Rule("a number above 0 and below 1", lambda value: 0 < value < 1)
RATE = Rule("a number from 0 to below 1", lambda value: 0 <= value < 1)
POSITIVE = Rule("a finite number above 0", lambda value: 0 < value <= sys.float_info.max)
NOT_NEGATIVE = Rule("a finite number of at least 0", lambda value: 0 <= value <= sys.float_info.max)
TEXT = Rule("a string of valid Unicode, neither empty nor with NUL", _is_text)


def _option(default: T, help: str, rule: Rule | None = None) -> T:
    """A dataclass field with the line that `--help` prints and the rule its values obey."""
    return field(default=default, metadata={"help": help, "rule": rule})


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which texts, how they are split, cut and numbered."""

    source: str = _option("bbc-news", "Hub name, folder or file; bbc-news is the quickstart's", TEXT)
    max_train_examples: int | None = _option(None, "keep only this many training examples", COUNT)
    validation_fraction: float = _option(0.1, "of train, when the source has no validation split", FRACTION)
    test_fraction: float = _option(0.2, "of all, when the source has no test split", FRACTION)
    max_tokens: int = _option(400, "longer texts are cut, and counted", COUNT)
    lowercase: bool = _option(True, "lowercase the tokens")
    vocabulary_size: int = _option(25_000, "most frequent training tokens to keep", COUNT)
    min_count: int = _option(1, "rarer training tokens are unknown words", COUNT)
    max_shapes: int = _option(6, "padded lengths, that is compiled programs", COUNT)
    cache_dir: str = _option("~/.cache/jaxrnn", "folder for prepared data", TEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorsConfig:
    """Word vectors that the embedding starts from."""

    path: str | None = _option(None, "GloVe .txt, .gz or .zip; none: random vectors", TEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The classifier: embedding, recurrent layers, pooling."""

    cell: Literal["lstm", "gru", "elman"] = _option("lstm", "kind of recurrent layer")
    embedding: int = _option(64, "features of a token", COUNT)
    hidden: int = _option(64, "hidden features a direction", COUNT)
    num_layers: int = _option(1, "recurrent layers", COUNT)
    bidirectional: bool = _option(True, "read the text in both directions")
    dropout_rate: float = _option(0.5, "on the embedding, between layers and on the pooled state", RATE)
    pooling: Literal["last", "mean", "max"] = _option("mean", "which state stands for the text: final, mean, maximum")
    init: Literal["orthogonal", "torch"] = _option("orthogonal", "first weights; torch: as PyTorch draws them")
    double_bias: bool = _option(False, "two biases that add up, as in PyTorch")
    dtype: Literal["float32", "bfloat16"] = _option("float32", "of the matrix products")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """What is minimised, and how."""

    optimizer: Literal["adam", "adamw", "sgd", "lion"] = _option("adam", "what turns gradients into updates")
    learning_rate: float = _option(5e-3, "step size, the highest of the schedule", POSITIVE)
    schedule: Literal["constant", "cosine", "linear", "plateau"] = _option("constant", "of the rate after the warm-up")
    warmup_steps: int = _option(0, "updates over which the rate rises", NOT_NEGATIVE_COUNT)
    plateau_patience: int = _option(1, "validations without progress before the rate is cut", COUNT)
    plateau_factor: float = _option(0.1, "what a plateau multiplies the rate by", FRACTION)
    momentum: float = _option(0.0, "of sgd", RATE)
    weight_decay: float = _option(0.0, "of weight matrices; not for adam", NOT_NEGATIVE)
    decay_embedding: bool = _option(False, "weight decay of the embedding too")
    max_grad_norm: float | None = _option(None, "clip the gradient to this global norm", POSITIVE)
    skip_nonfinite: int = _option(0, "steps that may be skipped as their gradient is not finite", NOT_NEGATIVE_COUNT)
    accumulate_steps: int = _option(1, "batches whose mean gradient makes one update", COUNT)
    label_smoothing: float = _option(0.0, "of the training loss, spread over all classes", RATE)
    ema_decay: float | None = _option(None, "of an average of the weights, used in their place", FRACTION)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long to train, and how often to save."""

    epochs: int = _option(5, "passes over the training examples", COUNT)
    max_steps: int | None = _option(None, "stop after this many steps", COUNT)
    patience: int | None = _option(None, "epochs in a row without a better validation loss", COUNT)
    batch_size: int = _option(32, "examples a step", COUNT)
    checkpoint_every_seconds: float = _option(60.0, "between the checkpoints inside an epoch", NOT_NEGATIVE)
    checkpoint_every_steps: int | None = _option(None, "save also after so many steps", COUNT)
    keep_checkpoints: int = _option(2, "the latest ones, to go on from", COUNT)
    tensorboard: bool = _option(False, "write events for TensorBoard too")
    profile_steps: int | None = _option(None, "write a profile of so many steps", COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicesConfig:
    """Which devices train, and how several processes find each other."""

    per_process: int | None = _option(None, "devices of each process to use; none: all", COUNT)
    model_parallel: int = _option(1, "devices that hold one copy of the weights between them", COUNT)
    divide: Literal["embedding", "hidden", "both"] = _option("embedding", "what those devices divide")
    coordinator: str | None = _option(None, "host:port of the first process; auto: by Slurm or MPI", TEXT)
    num_processes: int | None = _option(None, "processes that train together", COUNT)
    process: int | None = _option(None, "number of this process, from 0", NOT_NEGATIVE_COUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A whole run. Building one checks every value.

    An optional setting's default must be None: TOML cannot say "none", so `to_toml` leaves those out.

    Raises:
        InputError: If a value has the wrong type or is out of range.
    """

    seed: int = _option(42, "of the split, the order, the weights and dropout", SEED)
    run_dir: str = _option("runs/quickstart", "folder that receives all results", TEXT)
    data: DataConfig = DataConfig()
    vectors: VectorsConfig = VectorsConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    devices: DevicesConfig = DevicesConfig()

    def __post_init__(self) -> None:
        for key in _KEYS:
            _checked(key, attrgetter(key)(self))
        if self.optim.optimizer == "adam" and self.optim.weight_decay:
            raise InputError(f"optim.weight_decay: expected 0 for adam (adamw has it), got {self.optim.weight_decay}")
        divided = {"embedding": ("embedding",), "hidden": ("hidden",), "both": ("embedding", "hidden")}
        for name in divided[self.devices.divide]:
            if getattr(self.model, name) % self.devices.model_parallel:
                raise InputError(
                    f"devices.model_parallel: expected a divisor of model.{name} = {getattr(self.model, name)}, "
                    f"got {self.devices.model_parallel}"
                )


class _Key(NamedTuple):
    """One setting, as the loader sees it."""

    type: type  # int, float, bool or str: the type of the values that are not None
    choices: tuple[str, ...]  # of a Literal, else empty
    optional: bool
    default: Any
    help: str
    rule: Rule | None

    @property
    def expected(self) -> str:
        """What its values are, to complete "expected ..."."""
        kinds = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
        choices = "one of " + ", ".join(map(_toml_value, self.choices)) if self.choices else ""
        return (choices or (self.rule.expected if self.rule else kinds[self.type])) + " or none" * self.optional

    @property
    def type_text(self) -> str:
        """Its type, as `--help` names it."""
        return ("|".join(self.choices) or self.type.__name__) + " or none" * self.optional

    def accepts(self, value: object) -> bool:
        """Whether the value may be assigned. An integer is a number; a boolean is neither."""
        if value is None:
            return self.optional
        if self.choices:
            return value in self.choices
        if type(value) is not self.type and not (self.type is float and type(value) is int):
            return False
        return self.rule is None or self.rule.accepts(value)


def _walk(cls: type, prefix: str = "") -> Iterator[tuple[str, _Key]]:
    """Yields every setting of a section's class by its dotted key."""
    hints = get_type_hints(cls)
    for each in fields(cls):
        if is_dataclass(each.default):
            yield from _walk(type(each.default), f"{each.name}.")
            continue
        hint = hints[each.name]
        members = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
        base, optional = members[0], NoneType in members  # T and whether it is T | None
        choices = get_args(base)  # of a Literal
        yield prefix + each.name, _Key(str if choices else base, choices, optional, each.default, **each.metadata)


_KEYS = dict(_walk(Config))
_SECTIONS: dict[str, type] = {each.name: type(each.default) for each in fields(Config) if is_dataclass(each.default)}


def load_config(path: Path | None, overrides: Sequence[str]) -> Config:
    """Reads a TOML file, then applies overrides in their order; what neither names keeps its default.

    Args:
        path: The file. None: the defaults alone, that is the quickstart.
        overrides: `key=value` with a dotted key. The key's type decides how the value is read: `64` or `1_000`; `1e-3`;
            `true` or `false`; strings bare or in quotes (a matching pair is dropped, nothing is unescaped). `none`
            clears an optional setting.

    Returns:
        The checked configuration.

    Raises:
        InputError: If the file cannot be read or parsed, or a key or a value is not in the schema.

    >>> load_config(None, ["model.cell=gru", "model.hidden=1_000"]).model.hidden
    1000
    """
    values = {} if path is None else _read(path)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"{_show(override)}: expected key=value")
        key = name.strip()
        values[key] = _checked(key, _parse(text.strip(), _find(key)))
    given: dict[str, dict[str, Any]] = {section: {} for section in ("", *_SECTIONS)}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        given[section][name] = value
    sections = {section: cls(**given[section]) for section, cls in _SECTIONS.items()}
    return Config(**given[""], **sections)


def to_toml(config: Config) -> str:
    """Writes every setting as TOML that `load_config` reads back to an equal config; unset ones become comments.

    Args:
        config: What to write.

    Returns:
        The text, each setting followed by its help. Write it as UTF-8.
    """
    lines, section = [], ""
    for key, spec in _KEYS.items():
        before, section = section, key.rpartition(".")[0]
        if section != before:
            lines += ["", f"[{section}]"]
        name, value = key.rpartition(".")[2], attrgetter(key)(config)
        setting = f"# {name}: none" if value is None else f"{name} = {_toml_value(value)}"
        lines.append(f"{setting}  # {spec.help}")
    return "\n".join(lines) + "\n"


def describe_keys() -> str:
    """Returns the settings for `--help`: key, type, default and help, a line each, in columns."""
    rows = [(key, spec.type_text, _toml_value(spec.default), spec.help) for key, spec in _KEYS.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def differences(a: Config, b: Config) -> list[str]:
    """Returns the settings that differ, as `model.hidden: 256 != 64`, in the schema's order."""
    pairs = ((key, attrgetter(key)(a), attrgetter(key)(b)) for key in _KEYS)
    return [f"{key}: {_toml_value(left)} != {_toml_value(right)}" for key, left, right in pairs if left != right]


def _read(path: Path) -> dict[str, Any]:
    """Reads a TOML file into checked values by dotted key."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Windows editors may begin with a byte order mark
        tables = tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file (overrides are written key=value)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a config file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: byte {error.object[error.start]:#04x} at {error.start}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError says the line and the column
        raise InputError(f"{path}: not valid TOML: {error}") from None
    try:
        return dict(_flatten(tables))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _flatten(table: dict[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the checked values of a parsed file by dotted key."""
    for name, value in table.items():
        if "." in name:  # a TOML key in quotes: it could name a setting a second time
            raise InputError(f"{_show(name)}: write the key without quotes")
        key = f"{section}.{name}" if section else name
        if key in _SECTIONS and isinstance(value, dict):
            yield from _flatten(value, key)
        else:
            yield key, _checked(key, value)


def _find(key: str) -> _Key:
    """Looks a dotted key up, or says which one was probably meant."""
    if key in _KEYS:
        return _KEYS[key]
    if key in _SECTIONS:
        example = next(known for known in _KEYS if known.startswith(f"{key}."))
        raise InputError(f"'{key}' is a section: set one of its keys, such as '{example}'")
    # First a forgotten or a wrong section, then a slip of the pen in the whole key, then both.
    names = {known.rpartition(".")[2]: known for known in _KEYS}
    name = key.rpartition(".")[2]
    whole = difflib.get_close_matches(key, [*_KEYS, *_SECTIONS], n=1)
    last = difflib.get_close_matches(name, names, n=1)
    guess = names.get(name) or next(iter(whole), None) or (names[last[0]] if last else None)
    raise InputError(
        f"unknown key {_show(key)}" + (f", did you mean '{guess}'?" if guess else "; --help lists them all")
    )


def _checked(key: str, value: object) -> Any:
    """Returns the value, an integer as a float where the setting is one, or says what was expected."""
    spec = _find(key)
    if not spec.accepts(value):
        raise InputError(f"{key}: expected {spec.expected}, got {_show(value)}")
    return float(value) if spec.type is float and isinstance(value, int) else value


def _parse(text: str, spec: _Key) -> object:
    """Reads an override's value by the setting's type. Text that does not fit comes back as it is, to be refused."""
    if spec.optional and text.lower() == "none":
        return None
    if spec.type is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if spec.type is str:
        quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
        return text[1:-1] if quoted else text
    try:
        return spec.type(text)
    except ValueError:
        return text


def _toml_value(value: object) -> str:
    """Writes a value as TOML does, and None as the command line does."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which only TOML refuses to hold as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _show(value: object) -> str:
    """Shows what the user gave, on one short line."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to print huge ones
        return "an integer beyond 64 bits"
    text = repr(value) if isinstance(value, str) else _toml_value(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
