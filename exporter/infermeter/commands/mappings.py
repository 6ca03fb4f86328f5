"""`infermeter mappings`: the mappings that there are, spans recorded for a new one, and what a mapping would see in them.

What it says of them is in mapping_trial.py, how they are recorded in mapping_recording.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from difflib import get_close_matches
from pathlib import Path

from infermeter.commands.configuration import configuration_text, own_mappings, written_configuration
from infermeter.commands.mapping_recording import record
from infermeter.commands.mapping_trial import Trial
from infermeter.config import Listen
from infermeter.errors import ConfigError
from infermeter.mapping import ServerMapping, load_mappings, shipped_mappings
from infermeter.mapping.schema import read_mapping
from infermeter.otlp.files import receive_file, recorded_files
from infermeter.parsing.durations import duration_seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mappings`."""
    parser.epilog = (
        "examples:"
        "\n  infermeter mappings                                     those that there are"
        "\n  infermeter mappings record --output spans               what a server emits"
        "\n  infermeter mappings test vllm --spans spans"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file whose mappings_dir counts too; default $INFERMETER_CONFIG, else none"
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action")
    summary = "what a mapping would see in recorded spans"
    test = actions.add_parser("test", help=summary, description=summary, allow_abbrev=False)
    test.add_argument("mapping", metavar="FILE", help="a mapping's YAML file, or the name of one that is shipped")
    spans_help = "files or folders of OTLP exports (.json, .jsonl, .pb, each also .gz)"
    recording = "what arrives over OTLP, into a folder that test and replay read"
    made = actions.add_parser("record", help=recording, description=recording, allow_abbrev=False)
    made.add_argument("--output", required=True, metavar="DIR", help="a new or empty folder")
    made.add_argument("--duration", type=_duration, default=60.0, metavar="DURATION", help="how long, unless SIGINT ends it (default 60s)")
    made.add_argument("--http", default=Listen().otlp_http, metavar="ADDRESS", help="where OTLP over HTTP is taken (default %(default)s)")
    made.add_argument("--grpc", default=Listen().otlp_grpc, metavar="ADDRESS", help="where OTLP over gRPC is taken (default %(default)s)")
    test.add_argument("--spans", type=Path, nargs="+", required=True, metavar="PATH", help=spans_help)


def run(args: argparse.Namespace) -> int:
    """Prints the mappings, or records spans, or prints what a mapping sees in them."""
    if args.action is None:
        named = args.config or os.environ.get("INFERMETER_CONFIG")
        own = own_mappings(written_configuration(named)) if named else {}
        print("\n".join(_listed(load_mappings("auto", own))))
        return 0
    if args.action == "record":
        return record(args.output, http=args.http, grpc=args.grpc, duration_seconds=args.duration)
    trial = Trial(_mapping(args.mapping))
    files, skipped = recorded_files(args.spans)
    for line in skipped:
        print(line, file=sys.stderr)
    for file in files:
        receive_file(file, trial)
    print("\n".join(trial.told()))
    return 0


def _duration(text: str) -> float:
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _mapping(named: str) -> ServerMapping:
    """Raises: ConfigErrors of MappingError; ConfigError, if there is no such file."""
    shipped = shipped_mappings()
    if named in shipped:
        return shipped[named]
    if named != "-" and not Path(named).exists():
        near = get_close_matches(named.lower(), shipped, n=1)
        hint = f"; did you mean {near[0]}?" if near else f", nor is a mapping of this name shipped: {', '.join(sorted(shipped))}"
        raise ConfigError(named, f"no such file{hint}")
    return read_mapping(configuration_text(named), named)


def _listed(mappings: tuple[ServerMapping, ...]) -> list[str]:
    """A line for each, in order of precedence."""
    shipped = shipped_mappings()
    rows = [("SERVER", "ROLE", "TRIED WITH SPANS", "OWN METRICS", "TITLE")]
    for mapping in mappings:
        tried = ", ".join(mapping.origins) if shipped.get(mapping.server) is mapping else "your own file"
        rows.append((mapping.server, mapping.role, tried or "-", "read" if mapping.metrics else "-", mapping.title))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows]
