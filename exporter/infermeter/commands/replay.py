"""`infermeter replay`: the same mapper and ledger over recorded spans and power, offline; a report out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from infermeter.commands.configuration import configured, own_mappings
from infermeter.gpu.choice import chosen
from infermeter.gpu.recording import Recording, read_recording
from infermeter.mapping import Mapper, load_mappings
from infermeter.meter import replayed
from infermeter.metrics.report import report
from infermeter.metrics.report_text import report_text
from infermeter.model import Export
from infermeter.otlp.files import recorded_exports, recorded_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `replay`."""
    parser.add_argument("--spans", type=Path, nargs="+", required=True, metavar="P", help="files or folders of OTLP exports (.json, .jsonl, .pb, each also .gz)")
    parser.add_argument("--power", type=Path, metavar="P", help="a capture, or what nvidia-smi --query-gpu=... --format=csv printed")
    parser.add_argument("--config", metavar="F", help="prices and SLAs; default $INFERMETER_CONFIG, else the defaults")
    parser.add_argument("--timezone", default="UTC", metavar="Z", help="of nvidia-smi's timestamps (default UTC)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the report (default text)")


def run(args: argparse.Namespace) -> int:
    """Prints the report; nothing on standard output unless everything could be read."""
    config = configured(args.config)
    mappings = load_mappings(config.server.kind, own_mappings(config))
    files, skipped = recorded_files(args.spans)
    recording = read_recording(args.power, timezone=args.timezone) if args.power else Recording()
    for line in (*skipped, *recording.warnings):
        print(line, file=sys.stderr)

    def exports(mapper: Mapper) -> Iterator[Export]:
        for file in files:
            yield from recorded_exports(file, mapper.wanted)

    snapshot = replayed(
        config,
        mappings,
        exports,
        gpus=chosen(recording.identities, config.server.gpus, {}),
        samples=recording.samples,
        host_samples=recording.host_samples,
        rejected=recording.rejected,
        gpu_source="replay" if args.power else None,
    )
    result = report(snapshot)
    text = orjson.dumps(result, option=orjson.OPT_INDENT_2).decode() if args.format == "json" else report_text(result)
    print(text)
    return 0
