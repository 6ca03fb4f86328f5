"""`infermeter capture`: this machine's GPUs into a file that `replay` and the replay source play."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from dataclasses import replace

from infermeter.commands.capture_file import CaptureFile
from infermeter.commands.capturing import Capture
from infermeter.commands.configuration import with_environment, written_configuration
from infermeter.config import Config
from infermeter.errors import ConfigError, GpuUnavailable
from infermeter.gpu import GpuSource
from infermeter.gpu.choice import chosen
from infermeter.gpu.source import Seen
from infermeter.gpu.sources import gpu_source
from infermeter.host.sources import host_source, present
from infermeter.logs import log_to_stderr
from infermeter.model import GpuIdentity
from infermeter.parsing.durations import duration_seconds

STOPPING = signal.SIGTERM, signal.SIGINT
SHORTEST_SECONDS = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `capture`."""
    parser.epilog = "example:\n  infermeter capture --duration 5m --output gpu.csv.gz"
    parser.add_argument(
        "--duration", type=_duration, default=60.0, metavar="DURATION", help="how long, from the first reading on (default 60s)"
    )
    parser.add_argument("--interval", type=_duration, metavar="DURATION", help="time between readings (default gpu.interval: 1s)")
    parser.add_argument("--output", required=True, metavar="FILE", help="a new or empty file, packed if it ends in .gz; -: standard output")
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file: its gpu, host_power and server.gpus count; default $INFERMETER_CONFIG"
    )


def run(args: argparse.Namespace) -> int:
    """Records until the time is over, or until SIGTERM or SIGINT: that ends a capture properly too."""
    config = _configured(args.config)
    with CaptureFile(args.output) as file:
        summary = asyncio.run(_recorded(file, config, args.duration, args.interval or config.gpu.interval))
    print(f"{args.output}: {summary}", file=sys.stderr)
    return 0


async def _recorded(file: CaptureFile, config: Config, duration_seconds: float, interval_seconds: float) -> str:
    source = _source(config)
    capture = Capture(
        source,
        present(host_source(config.host_power, gpu_source=source.name), time.time_ns()),
        file.write,
        duration_seconds=duration_seconds,
        interval_seconds=interval_seconds,
        timeout_seconds=config.gpu.timeout,
    )
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, capture.end)
    try:
        return await capture.record()
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # it ends already: whoever asks again doesn't get another exit code


def _duration(text: str) -> float:
    try:
        seconds = duration_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if seconds < SHORTEST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be at least {SHORTEST_SECONDS:g}s")
    return seconds


def _configured(path: str | None) -> Config:
    """As serve's; but that prices and SLAs are missing is nothing to tell here. Raises: ConfigErrors, ConfigError."""
    named = path or os.environ.get("INFERMETER_CONFIG")
    config = with_environment(written_configuration(named) if named else Config(), os.environ)
    log_to_stderr(config.log.level, config.log.format)
    return config


def _source(config: Config) -> GpuSource:
    """The configured source of what this machine measures, with all that it tells. Raises: ConfigError, GpuUnavailable."""
    if config.gpu.source == "replay":
        raise ConfigError("gpu.source", "a capture is of this machine's GPUs, and replay is a recording already")
    name = "nvml" if config.gpu.source == "auto" else config.gpu.source  # which tells why it isn't there
    source = gpu_source(
        replace(config.gpu, source=name, hardware=True),
        busy_share=lambda _begin_ns, _end_ns: 0.0,
        choose=lambda seen: _chosen(seen, config),
    )
    if source is None:
        raise GpuUnavailable("no GPU to record: gpu.source is none")
    return source


def _chosen(seen: Seen, config: Config) -> tuple[GpuIdentity, ...]:
    return seen.identities if config.server.gpus == "auto" else chosen(seen.identities, config.server.gpus, {})
