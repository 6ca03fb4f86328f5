"""`infermeter replay`: the same mapper and ledger over recorded spans and power, offline; a report out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from infermeter.commands.configuration import configured, listed, own_mappings
from infermeter.config import Config
from infermeter.gpu.choice import chosen
from infermeter.gpu.recording import Recording, read_recording
from infermeter.mapping import load_mappings
from infermeter.meter import RecordedPower, Replay
from infermeter.metrics.report import report
from infermeter.metrics.report_text import report_text
from infermeter.otlp.files import receive_file, recorded_files
from infermeter.otlp.receiver import Receiver

SPANS_HELP = "files or folders of OTLP exports (.json, .jsonl, .pb, each also .gz)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `replay`."""
    parser.epilog = (
        "examples:"
        "\n  infermeter replay --spans spans/ --power gpu.csv --config infermeter.yaml"
        "\n  infermeter replay --spans spans.jsonl.gz --format json > before.json"
    )
    parser.add_argument("--spans", type=Path, nargs="+", required=True, metavar="PATH", help=SPANS_HELP)
    parser.add_argument(
        "--power", type=Path, metavar="FILE", help="the GPUs' readings: a capture, or what nvidia-smi --query-gpu=... --format=csv printed"
    )
    parser.add_argument("--config", metavar="FILE", help="prices and SLAs; default $INFERMETER_CONFIG, else the defaults")
    parser.add_argument("--timezone", default="UTC", metavar="ZONE", help="that of nvidia-smi's timestamps (default UTC)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what the report is printed as (default text)")


def run(args: argparse.Namespace) -> int:
    """Prints the report; nothing on standard output unless everything could be read."""
    config = configured(args.config)
    replay = Replay(config, load_mappings(config.server.kind, own_mappings(config)), listed=listed(config))
    receiver = Receiver(replay.wanted, replay.consume, config.limits, overloaded=lambda: False)
    files, skipped = recorded_files(args.spans)
    recording = read_recording(args.power, timezone=args.timezone) if args.power else None
    for line in (*skipped, *(recording.warnings if recording else ())):
        print(line, file=sys.stderr)
    for file in files:
        receive_file(file, receiver)
    result = report(
        replay.snapshot(
            spans_received={"file": receiver.spans_received["file"]},
            spans_dropped=receiver.spans_dropped,
            power=_power(recording, config) if recording else None,
        )
    )
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode() if args.format == "json" else report_text(result))
    return 0


def _power(recording: Recording, config: Config) -> RecordedPower:
    """What the recording says of the server's own GPUs. Raises: ConfigError for a GPU that the recording doesn't have."""
    gpus = chosen(recording.identities, config.server.gpus, {})
    samples = recording.samples if config.gpu.hardware else recording.samples.without_hardware()
    return RecordedPower(
        gpus=gpus,
        samples=samples.of(gpu.uuid for gpu in gpus),
        host_samples=recording.host_samples,
        rejected=recording.rejected,
    )
