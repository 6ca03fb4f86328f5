"""`infermeter check-config`: each problem of a configuration on a line, before it is deployed."""

from __future__ import annotations

import argparse

from infermeter.commands.configuration import access_notes, listed, own_mappings, written_configuration
from infermeter.mapping import load_mappings
from infermeter.parsing.structure import notices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `check-config`."""
    parser.epilog = "example:\n  infermeter check-config infermeter.yaml"
    parser.add_argument("file", metavar="FILE", help="configuration file (YAML); - is standard input")


def run(args: argparse.Namespace) -> int:
    """Prints `ok` and what has no effect. Raises: ConfigErrors, ConfigError, MappingError."""
    config = written_configuration(args.file)
    load_mappings(config.server.kind, own_mappings(config))
    listed(config)
    notes = access_notes(config)
    print("ok")
    for notice in (*notices(config), *notes):
        print(notice)
    return 0
