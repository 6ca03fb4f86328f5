"""`infermeter mappings`: the mappings that there are, and what one would see in recorded spans. What it says is in mapping_trial.py."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from infermeter.commands.configuration import configuration_text, own_mappings, written_configuration
from infermeter.commands.mapping_trial import Trial
from infermeter.mapping import ServerMapping, load_mappings, shipped_mappings
from infermeter.mapping.schema import read_mapping
from infermeter.otlp.files import receive_file, recorded_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mappings`."""
    parser.add_argument("--config", metavar="F", help="whose mappings_dir counts too; default $INFERMETER_CONFIG, else none")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action")
    summary = "what a mapping would see in recorded spans"
    test = actions.add_parser("test", help=summary, description=summary, allow_abbrev=False)
    test.add_argument("mapping", metavar="FILE", help="a mapping's YAML file, or the name of one that is shipped")
    spans_help = "files or folders of OTLP exports (.json, .jsonl, .pb, each also .gz)"
    test.add_argument("--spans", type=Path, nargs="+", required=True, metavar="P", help=spans_help)


def run(args: argparse.Namespace) -> int:
    """Prints the mappings, or what one sees."""
    if args.action is None:
        named = args.config or os.environ.get("INFERMETER_CONFIG")
        own = own_mappings(written_configuration(named)) if named else {}
        print("\n".join(_listed(load_mappings("auto", own))))
        return 0
    trial = Trial(_mapping(args.mapping))
    files, skipped = recorded_files(args.spans)
    for line in skipped:
        print(line, file=sys.stderr)
    for file in files:
        receive_file(file, trial)
    print("\n".join(trial.told()))
    return 0


def _mapping(named: str) -> ServerMapping:
    """Raises: ConfigErrors of MappingError; ConfigError, if there is no such file."""
    shipped = shipped_mappings()
    return shipped[named] if named in shipped else read_mapping(configuration_text(named), named)


def _listed(mappings: tuple[ServerMapping, ...]) -> list[str]:
    """A line for each, in order of precedence."""
    shipped = shipped_mappings()
    rows = [("SERVER", "ROLE", "TRIED WITH SPANS", "OWN METRICS", "TITLE")]
    for mapping in mappings:
        tried = ", ".join(mapping.origins) if shipped.get(mapping.server) is mapping else "your own file"
        rows.append((mapping.server, mapping.role, tried or "-", "read" if mapping.metrics else "-", mapping.title))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows]
