"""`infermeter serve`: the sidecar."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping

from infermeter import app
from infermeter.commands.configuration import configured, listed, offered, own_mappings
from infermeter.config import Config
from infermeter.gpu.own import OwnGpus
from infermeter.gpu.processes import process_tree
from infermeter.gpu.sources import gpu_source
from infermeter.host.sources import host_source
from infermeter.mapping import ServerMapping, load_mappings
from infermeter.memory import tune_allocator
from infermeter.model import Snapshot
from infermeter.prices.listing import Listed
from infermeter.reloads import Offer, Reload
from infermeter.state import StateFile
from infermeter.structure import notices

log = logging.getLogger(__name__)

STOPPING = signal.SIGTERM, signal.SIGINT

YOUNG_OBJECTS = 50_000
"""Allocations between two looks for garbage: spans under assembly are no garbage, and there is hardly any that needs looking for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    parser.add_argument("--config", metavar="F", help="configuration file; default $INFERMETER_CONFIG, else the defaults")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT."""
    config = configured(args.config)
    mappings = load_mappings(config.server.kind, own_mappings(config))
    files = listed(config)
    for notice in notices(config):
        log.warning("%s", notice)
    tune_allocator()
    _allow_files()
    counted = asyncio.run(_serve(config, mappings, files, lambda: offered(args.config)))
    log.info(
        "stopped: %d spans received, %d inferences observed, %d spans dropped, %d unmapped",
        sum(counted.intake.spans_received.values()),
        sum(model.observed_ok + model.observed_error for model in counted.ledger.models),
        sum(counted.intake.spans_dropped.values()),
        sum(counted.intake.spans_unmapped.values()),
    )
    return 0


async def _serve(config: Config, mappings: tuple[ServerMapping, ...], files: Listed, read: Callable[[], Offer]) -> Snapshot:
    stop = asyncio.Event()
    reload = Reload(read, asked=asyncio.Event())
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.asked.set)
    counted = await app.run(
        config,
        mappings,
        gpus=lambda busy_share: gpu_source(
            config.gpu,
            busy_share=busy_share,
            choose=OwnGpus(config.server, os.environ),
            own_processes=lambda: process_tree(config.server.pid) if config.server.pid else frozenset(),
        ),
        host=lambda gpu_source: host_source(config.host_power, gpu_source=gpu_source),
        listed=files,
        reload=reload,
        state=StateFile(config.state_file) if config.state_file else None,
        environ=os.environ,
        now=lambda: app.Instant(time.time_ns(), time.monotonic_ns()),
        stop=stop,
        on_listen=_started,
    )
    for number in STOPPING:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)  # it ends already: whoever asks again doesn't get another exit code
    return counted


def _allow_files() -> None:
    """As many open files as the system lets this process have: `limits.connections` bounds them, and not what a shell starts with."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _started(addresses: Mapping[str, str]) -> None:
    gc.collect()
    gc.freeze()  # what was made so far lives for ever: the collector needn't look at it again
    gc.set_threshold(YOUNG_OBJECTS)
    for key, address in addresses.items():
        log.info("listening: %s on %s", key, address)
