"""`infermeter serve`: the sidecar."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from infermeter import app
from infermeter.commands.configuration import access_notes, configured, listed, offered, own_mappings
from infermeter.commands.ending import Ending
from infermeter.config import Config
from infermeter.gpu.own import OwnGpus
from infermeter.gpu.processes import process_tree
from infermeter.gpu.sources import gpu_source
from infermeter.host.sources import host_source
from infermeter.mapping import ServerMapping, load_mappings
from infermeter.memory import tune_allocator
from infermeter.model import Snapshot
from infermeter.parsing.structure import notices
from infermeter.prices.listing import Listed
from infermeter.reloads import Offer, Reload
from infermeter.state import StateFile
from infermeter.systemd import Supervisor
from infermeter.unhandled import Unhandled

log = logging.getLogger(__name__)

FILES_APART = 192
"""Open files that aren't senders' connections: 64 of the web face, libraries, state, devices, other servers, and as many to spare."""

YOUNG_OBJECTS = 50_000
"""Allocations between two looks for garbage: spans under assembly are no garbage, and there is hardly any that needs looking for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    parser.epilog = (
        "examples:"
        "\n  infermeter serve --config infermeter.yaml"
        "\n  infermeter serve                             the defaults: no prices, no SLA"
    )
    parser.add_argument("--config", metavar="FILE", help="configuration file; default $INFERMETER_CONFIG, else the defaults")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT."""
    config = configured(args.config)
    mappings = load_mappings(config.server.kind, own_mappings(config))
    files = listed(config)
    for notice in (*notices(config), *access_notes(config)):
        log.warning("%s", notice)
    tune_allocator()
    counted = asyncio.run(_serve(within_files(config, _allowed_files()), mappings, files, lambda: offered(args.config)))
    log.info(
        "stopped: %d spans received, %d inferences observed, %d spans dropped, %d unmapped",
        sum(counted.intake.spans_received.values()),
        sum(model.observed_ok + model.observed_error for model in counted.ledger.models),
        sum(counted.intake.spans_dropped.values()),
        sum(counted.intake.spans_unmapped.values()),
    )
    return 0


async def _serve(config: Config, mappings: tuple[ServerMapping, ...], files: Listed, read: Callable[[], Offer]) -> Snapshot:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Unhandled())
    ending = Ending(loop)
    reload = Reload(read, asked=asyncio.Event())
    ending.listen(hang_up=reload.asked.set)
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
        stop=ending.stop,
        hurry=ending.hurry,
        supervisor=Supervisor.named_by(os.environ, pid=os.getpid()),
        on_listen=_started,
    )
    ending.listen_no_more()
    return counted


def _allowed_files() -> int:
    """How many may be open: as many as the system lets this process have; a shell starts with fewer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def within_files(config: Config, files: int) -> Config:
    """The configuration of which senders, of two transports, leave as many of so many files as everything else needs."""
    spared = max((files - FILES_APART) // 2, 1)
    if files == resource.RLIM_INFINITY or config.limits.connections <= spared:
        return config
    log.warning("limits.connections: %d, as no more than %d files may be open (ulimit -n)", spared, files)
    return replace(config, limits=replace(config.limits, connections=spared))


def _started(addresses: Mapping[str, str]) -> None:
    gc.collect()
    gc.freeze()  # what was made so far lives for ever: the collector needn't look at it again
    gc.set_threshold(YOUNG_OBJECTS)
    for key, address in addresses.items():
        log.info("listening: %s on %s", key, address)
