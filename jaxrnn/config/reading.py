"""From a TOML file and `key=value` overrides to a checked config, and back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from jaxrnn.config.schema import Schema, UnknownKeyError, parse, show, toml_value
from jaxrnn.config.sections import RunConfig, schema_of
from jaxrnn.errors import InputError


def read_config(
    path: Path | None,
    overrides: Sequence[str],
    *,
    config_of: Callable[[str], type[RunConfig]],
    default_task: str,
    tasks_with: Callable[[str], Sequence[str]],
) -> RunConfig:
    """Reads a TOML file, then applies overrides in their order; what neither names keeps its default.

    The setting `task` is looked up first: it decides which settings there are.

    Args:
      path: The file. None: the defaults alone.
      overrides: `key=value` with a dotted key. The key's type decides how the value is read: `64` or `1_000`; `1e-3`;
        `true` or `false`; strings bare or in quotes (a matching pair is dropped, nothing is unescaped). `none` clears
        an optional setting.
      config_of: The class of a task's config. It raises InputError for a task that does not exist.
      default_task: The task where neither file nor overrides name one.
      tasks_with: The tasks that have a key or a section, for the message about an unknown one.

    Raises:
      InputError: The file cannot be read or parsed, or a key or a value is not in the schema.
    """
    tables = {} if path is None else Schema.parse_file(path)
    pairs = [_split(override) for override in overrides]
    override = next((text for key, text in reversed(pairs) if key == "task"), None)
    task = tables.get("task", default_task) if override is None else override
    try:
        if not isinstance(task, str):
            raise InputError(f"task: expected a string, got {show(task)}")
        task = task.strip("'\"")
        config = config_of(task)
    except InputError as error:
        if override is None and path is not None:
            raise InputError(f"{path}: {error}") from error
        raise
    schema = schema_of(config)
    try:
        values = {} if path is None else schema.check_tables(path, tables)
        for key, text in pairs:
            values[key] = schema.checked(key, parse(text, schema.find(key)))
    except UnknownKeyError as error:
        owners = [each for each in tasks_with(error.key) if each != task]
        if not owners:
            raise
        where = f"{path}: " if error.is_from_file else ""
        raise InputError(
            f"{where}unknown key {show(error.key)} for task = {task}; it is a setting of {', '.join(owners)}"
        ) from error
    return _build(config, schema, values | {"task": task})


def to_toml(config: RunConfig) -> str:
    """Writes every setting as TOML that `read_config` reads back to an equal config; unset ones become comments.

    Args:
      config: What to write.

    Returns:
      The text, each setting followed by its help. Write it as UTF-8.
    """
    lines, section = [], ""
    for key, spec in schema_of(type(config)).keys.items():
        before, section = section, key.rpartition(".")[0]
        if section != before:
            lines += ["", f"[{section}]"]
        name, value = key.rpartition(".")[2], attrgetter(key)(config)
        setting = f"# {name}: none" if value is None else f"{name} = {toml_value(value)}"
        lines.append(f"{setting}  # {spec.help}")
    return "\n".join(lines) + "\n"


def describe_keys(config: type[RunConfig]) -> str:
    """The settings for `--help`, section by section: key, type, default and help, a line each, in columns."""
    keys = schema_of(config).keys
    rows = {key: (key, spec.type_text, toml_value(spec.default), spec.help) for key, spec in keys.items()}
    widths = [max(map(len, column)) for column in zip(*rows.values(), strict=True)]
    lines, section = [], ""
    for key, row in rows.items():
        before, section = section, key.rpartition(".")[0]
        if section != before:
            lines += ["", f"[{section}]"]
        lines.append("  ".join(map(str.ljust, row, widths)).rstrip())
    return "\n".join(lines)


def differences(a: RunConfig, b: RunConfig) -> list[str]:
    """Returns the settings that differ, as `model.hidden: 256 != 64`, in the schema's order."""
    if type(a) is not type(b):
        return [f"task: {toml_value(a.task)} != {toml_value(b.task)}"]
    pairs = ((key, attrgetter(key)(a), attrgetter(key)(b)) for key in schema_of(type(a)).keys)
    return [f"{key}: {toml_value(left)} != {toml_value(right)}" for key, left, right in pairs if left != right]


def _split(override: str) -> tuple[str, str]:
    name, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"{show(override)}: expected key=value")
    return name.strip(), text.strip()


def _build(config: type[RunConfig], schema: Schema, values: dict[str, Any]) -> RunConfig:
    given: dict[str, dict[str, Any]] = {section: {} for section in ("", *schema.sections)}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        given[section][name] = value
    sections = {section: replace(default, **given[section]) for section, default in schema.sections.items()}
    return config(**given[""], **sections)
