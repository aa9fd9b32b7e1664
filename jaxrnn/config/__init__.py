"""Settings: a strict reader of TOML and `key=value`, what every run has, and what all command lines share."""

from jaxrnn.config.command_line import ArgumentParser as ArgumentParser
from jaxrnn.config.command_line import run as run
from jaxrnn.config.reading import describe_keys as describe_keys
from jaxrnn.config.reading import differences as differences
from jaxrnn.config.reading import read_config as read_config
from jaxrnn.config.reading import to_toml as to_toml
from jaxrnn.config.schema import Rule as Rule
from jaxrnn.config.schema import Schema as Schema
from jaxrnn.config.schema import option as option
from jaxrnn.config.schema import some_of as some_of
from jaxrnn.config.schema import split_names as split_names
from jaxrnn.config.schema import toml_value as toml_value
from jaxrnn.config.sections import DataConfig as DataConfig
from jaxrnn.config.sections import DevicesConfig as DevicesConfig
from jaxrnn.config.sections import ModelConfig as ModelConfig
from jaxrnn.config.sections import OptimConfig as OptimConfig
from jaxrnn.config.sections import RunConfig as RunConfig
from jaxrnn.config.sections import TrainConfig as TrainConfig
from jaxrnn.config.sections import schema_of as schema_of
