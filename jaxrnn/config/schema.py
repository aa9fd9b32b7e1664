"""Describes settings by their types and rules, and reads them strictly from TOML and from `key=value`."""

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
    """A condition that the values of a setting must satisfy in addition to having its type.

    Attributes:
      expected: Describes the values that satisfy it; completes the message "expected ...".
      accepts: Whether a value satisfies it.
    """

    expected: str
    accepts: Callable[[Any], bool]


def _is_text(value: str) -> bool:
    # A path cannot contain NUL, nor a TOML file lone surrogates, which a command line has that is not UTF-8.
    return bool(value.strip()) and re.search("[\0\ud800-\udfff]", value) is None


# NaN fails all these comparisons. The upper bounds refuse infinity and what an int32 or a float cannot hold.
COUNT = Rule(f"an integer from 1 to {2**31 - 1}", lambda value: 1 <= value < 2**31)
LAYERS = Rule("an integer from 1 to 100", lambda value: 1 <= value <= 100)  # each of them is traced and compiled
NOT_NEGATIVE_COUNT = Rule(f"an integer from 0 to {2**31 - 1}", lambda value: 0 <= value < 2**31)
SEED = Rule(f"an integer from 0 to {2**32 - 1}", lambda value: 0 <= value < 2**32)
FRACTION = Rule("a number above 0 and below 1", lambda value: 0 < value < 1)
RATE = Rule("a number from 0 to below 1", lambda value: 0 <= value < 1)
POSITIVE = Rule("a finite number above 0", lambda value: 0 < value <= sys.float_info.max)
NOT_NEGATIVE = Rule("a finite number of at least 0", lambda value: 0 <= value <= sys.float_info.max)
TEXT = Rule("a string of valid Unicode, neither empty nor with NUL", _is_text)


def split_names(value: str) -> tuple[str, ...]:
    """Splits the value of a setting with the rule `some_of` into its names."""
    return tuple(name.strip() for name in value.split(","))


def some_of(*choices: str) -> Rule:
    """Returns the rule that a value is one of the names, or several of them separated by commas."""

    def accepts(value: str) -> bool:
        names = split_names(value)
        return set(names) <= set(choices) and len(set(names)) == len(names)

    return Rule(f"one or more of {', '.join(choices)}, separated by commas, none twice", accepts)


def option(default: T, help: str, rule: Rule | None = None) -> T:
    """Returns a dataclass field with the line that `--help` prints and the rule that its values must satisfy."""
    return field(default=default, metadata={"help": help, "rule": rule})


class Key(NamedTuple):
    """One setting.

    Attributes:
      type: The type of its values other than None: int, float, bool or str.
      choices: The allowed values if its type is a `Literal`; empty otherwise.
      optional: Whether None is allowed.
      default: Its default.
      help: The line that `--help` prints.
      rule: What its values must satisfy in addition to having this type. None: nothing.
    """

    type: type
    choices: tuple[str, ...]
    optional: bool
    default: Any
    help: str
    rule: Rule | None

    @property
    def expected(self) -> str:
        """Describes its values; completes the message "expected ..."."""
        kinds = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
        choices = "one of " + ", ".join(map(toml_value, self.choices)) if self.choices else ""
        expected = choices or (self.rule.expected if self.rule else kinds[self.type])
        return f"{expected} or none" if self.optional else expected

    @property
    def type_text(self) -> str:
        """Its type as `--help` prints it."""
        name = "|".join(self.choices) or self.type.__name__
        return f"{name} or none" if self.optional else name

    def accepts(self, value: object) -> bool:
        """Whether the setting may have this value. An integer is also a number; a boolean is neither."""
        if value is None:
            return self.optional
        if self.choices:
            return value in self.choices
        if type(value) is not self.type and not (self.type is float and type(value) is int):
            return False
        return self.rule is None or self.rule.accepts(value)


class UnknownKeyError(InputError):
    """There is no setting with this name.

    Attributes:
      key: The name.
      is_from_file: Whether it stands in a file, whose path the message then begins with.
    """

    def __init__(self, message: str, key: str, *, is_from_file: bool = False):
        super().__init__(message)
        self.key = key
        self.is_from_file = is_from_file


class Schema:
    """All settings of a dataclass whose fields are made by `option`, or are sections: dataclasses of such fields.

    Attributes:
      sections: The default of each section, by name.
      keys: The settings by dotted key, such as "model.hidden".
    """

    def __init__(self, root: type):
        self.sections: dict[str, Any] = {item.name: item.default for item in fields(root) if is_dataclass(item.default)}
        self.keys = dict(_walk(root))

    def __contains__(self, key: str) -> bool:
        """Whether there is a setting or a section of this name."""
        return key in self.keys or key in self.sections

    @staticmethod
    def parse_file(path: Path) -> dict[str, Any]:
        """Parses a TOML file without checking its keys and values.

        Raises:
          InputError: The file cannot be read or is not valid TOML.
        """
        try:
            text = path.read_bytes().decode("utf-8-sig")  # Windows editors may begin with a byte order mark
            return tomllib.loads(text)
        except FileNotFoundError:
            raise InputError(f"{path}: no such config file (overrides are written key=value)") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read as a config file: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: not UTF-8 text: byte {error.object[error.start]:#04x} at {error.start}"
            ) from None
        except (ValueError, RecursionError) as error:  # a TOMLDecodeError names the line and the column
            raise InputError(f"{path}: not valid TOML: {error}") from None

    def check_tables(self, path: Path, tables: dict[str, Any]) -> dict[str, Any]:
        """Returns the values of a parsed file by dotted key, after checking them.

        Raises:
          InputError: A key does not exist or has a value that is not allowed; UnknownKeyError for the former.
        """
        try:
            return dict(self._flatten(tables))
        except UnknownKeyError as error:
            raise UnknownKeyError(f"{path}: {error}", error.key, is_from_file=True) from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _flatten(self, table: dict[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
        """Yields the checked values of a parsed file by dotted key."""
        for name, value in table.items():
            if "." in name:  # a quoted TOML key, which could name a setting a second time
                raise InputError(f"{show(name)}: write the key without quotes")
            key = f"{section}.{name}" if section else name
            if key in self.sections and isinstance(value, dict):
                yield from self._flatten(value, key)
            else:
                yield key, self.checked(key, value)

    def find(self, key: str) -> Key:
        """Returns the setting with a dotted key.

        Raises:
          UnknownKeyError: There is none; the message names the one that was probably meant.
          InputError: The key is the name of a section.
        """
        if key in self.keys:
            return self.keys[key]
        if key in self.sections:
            example = next(known for known in self.keys if known.startswith(f"{key}."))
            raise InputError(f"'{key}' is a section: set one of its keys, such as '{example}'")
        # First guess that the section is missing or wrong, then that the whole key is misspelt, then both.
        names = {known.rpartition(".")[2]: known for known in self.keys}
        name = key.rpartition(".")[2]
        whole = difflib.get_close_matches(key, [*self.keys, *self.sections], n=1)
        last = difflib.get_close_matches(name, names, n=1)
        guess = names.get(name) or next(iter(whole), None) or (names[last[0]] if last else None)
        hint = f", did you mean '{guess}'?" if guess else "; --help lists them all"
        raise UnknownKeyError(f"unknown key {show(key)}{hint}", key)

    def checked(self, key: str, value: object) -> Any:
        """Returns the value if the setting may have it; an integer becomes a float where the setting is a number.

        Raises:
          InputError: The setting may not have this value; the message says what was expected.
        """
        spec = self.find(key)
        if not spec.accepts(value):
            raise InputError(f"{key}: expected {spec.expected}, got {show(value)}")
        return float(value) if spec.type is float and isinstance(value, int) else value


def _walk(cls: type, section: Any = None, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Yields every setting of a class by its dotted key.

    Args:
      cls: The class.
      section: The instance whose values are the defaults. None: the defaults are those of the class.
      prefix: What the dotted keys begin with.
    """
    hints = get_type_hints(cls)
    for item in fields(cls):
        if is_dataclass(item.default):
            yield from _walk(type(item.default), item.default, f"{item.name}.")
            continue
        default = item.default if section is None else getattr(section, item.name)
        hint = hints[item.name]
        members = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
        base, optional = members[0], NoneType in members  # of T or T | None: T, and whether None is allowed
        choices = get_args(base)  # the values of a Literal, else empty
        yield prefix + item.name, Key(str if choices else base, choices, optional, default, **item.metadata)


def parse(text: str, spec: Key) -> object:
    """Parses the value of an override by the setting's type. Text that cannot be parsed is returned unchanged."""
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
    """Formats a value as in TOML, and None as `none`, as on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON and TOML have the same escapes, except that only TOML requires DEL to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def show(value: object) -> str:
    """Formats a value that the user gave on one short line, for messages."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and value.bit_length() > 64:  # Python refuses to convert huge integers to text
        return "an integer beyond 64 bits"
    text = repr(value) if isinstance(value, str) else toml_value(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
