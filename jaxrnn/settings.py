"""Settings as data: what a value may be, and a strict reader of TOML and `key=value` for any schema of them."""

import difflib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import field, fields, is_dataclass
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


def split_names(value: str) -> tuple[str, ...]:
    """The names in a setting that `some_of` rules."""
    return tuple(name.strip() for name in value.split(","))


def some_of(*choices: str) -> Rule:
    """One of the names, or several of them separated by commas."""

    def accepts(value: str) -> bool:
        names = split_names(value)
        return set(names) <= set(choices) and len(set(names)) == len(names)

    return Rule(f"one or more of {', '.join(choices)}, separated by commas, none twice", accepts)


def option(default: T, help: str, rule: Rule | None = None) -> T:
    """A dataclass field with the line that `--help` prints and the rule its values obey."""
    return field(default=default, metadata={"help": help, "rule": rule})


class Key(NamedTuple):
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
        choices = "one of " + ", ".join(map(toml_value, self.choices)) if self.choices else ""
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


class Schema:
    """All settings of a dataclass whose fields are settings made by `option`, or sections: dataclasses of settings."""

    def __init__(self, root: type):
        self.keys = dict(_walk(root))
        self.sections: dict[str, type] = {
            each.name: type(each.default) for each in fields(root) if is_dataclass(each.default)
        }

    def read(self, path: Path) -> dict[str, Any]:
        """Reads a TOML file into checked values by dotted key."""
        try:
            text = path.read_bytes().decode("utf-8-sig")  # Windows editors may begin with a byte order mark
            tables = tomllib.loads(text)
        except FileNotFoundError:
            raise InputError(f"{path}: no such config file (overrides are written key=value)") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read as a config file: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: not UTF-8 text: byte {error.object[error.start]:#04x} at {error.start}"
            ) from None
        except (ValueError, RecursionError) as error:  # TOMLDecodeError says the line and the column
            raise InputError(f"{path}: not valid TOML: {error}") from None
        try:
            return dict(self._flatten(tables))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _flatten(self, table: dict[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
        """Yields the checked values of a parsed file by dotted key."""
        for name, value in table.items():
            if "." in name:  # a TOML key in quotes: it could name a setting a second time
                raise InputError(f"{show(name)}: write the key without quotes")
            key = f"{section}.{name}" if section else name
            if key in self.sections and isinstance(value, dict):
                yield from self._flatten(value, key)
            else:
                yield key, self.checked(key, value)

    def find(self, key: str) -> Key:
        """Looks a dotted key up, or says which one was probably meant."""
        if key in self.keys:
            return self.keys[key]
        if key in self.sections:
            example = next(known for known in self.keys if known.startswith(f"{key}."))
            raise InputError(f"'{key}' is a section: set one of its keys, such as '{example}'")
        # First a forgotten or a wrong section, then a slip of the pen in the whole key, then both.
        names = {known.rpartition(".")[2]: known for known in self.keys}
        name = key.rpartition(".")[2]
        whole = difflib.get_close_matches(key, [*self.keys, *self.sections], n=1)
        last = difflib.get_close_matches(name, names, n=1)
        guess = names.get(name) or next(iter(whole), None) or (names[last[0]] if last else None)
        raise InputError(
            f"unknown key {show(key)}" + (f", did you mean '{guess}'?" if guess else "; --help lists them all")
        )

    def checked(self, key: str, value: object) -> Any:
        """Returns the value, an integer as a float where the setting is one, or says what was expected."""
        spec = self.find(key)
        if not spec.accepts(value):
            raise InputError(f"{key}: expected {spec.expected}, got {show(value)}")
        return float(value) if spec.type is float and isinstance(value, int) else value


def _walk(cls: type, prefix: str = "") -> Iterator[tuple[str, Key]]:
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
        yield prefix + each.name, Key(str if choices else base, choices, optional, each.default, **each.metadata)


def parse(text: str, spec: Key) -> object:
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


def toml_value(value: object) -> str:
    """Writes a value as TOML does, and None as the command line does."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which only TOML refuses to hold as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def show(value: object) -> str:
    """Shows what the user gave, on one short line."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to print huge ones
        return "an integer beyond 64 bits"
    text = repr(value) if isinstance(value, str) else toml_value(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
