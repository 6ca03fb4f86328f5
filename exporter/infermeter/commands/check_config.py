"""`infermeter check-config`: each problem of a configuration on a line, before it is deployed."""

from __future__ import annotations

import argparse
from pathlib import Path

from infermeter.commands.configuration import configuration_text, own_mappings
from infermeter.errors import ConfigError
from infermeter.mapping import load_mappings
from infermeter.structure import load_config, notices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `check-config`."""
    parser.add_argument("file", metavar="F", help="configuration file; - is standard input")


def run(args: argparse.Namespace) -> int:
    """Prints `ok` and what has no effect. Raises: ConfigErrors, ConfigError, MappingError."""
    config = load_config(configuration_text(args.file), args.file)
    load_mappings(config.server.kind, own_mappings(config))
    if config.gpu.file is not None and not Path(config.gpu.file).is_file():
        raise ConfigError("gpu.file", f"no such file: {config.gpu.file}")
    print("ok")
    for notice in notices(config):
        print(notice)
    return 0
