"""`infermeter demo`: the whole product on one machine without a GPU, in real processes, over real sockets."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from infermeter.demo.launch import SERVER_ENVIRONMENT, configuration, server_command
from infermeter.demo.load import Load
from infermeter.demo.processes import Child, DemoFailed, free_ports
from infermeter.demo.scenarios import SCENARIOS, Scenario
from infermeter.demo.table import Report, drawn, heading, row
from infermeter.metrics.report_text import report_text
from infermeter.parsing.durations import duration_seconds

T = TypeVar("T")

START_SECONDS = 15.0
CAPACITY_SECONDS = 1.5
SETTLE_SECONDS = 15.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.1
READING_SECONDS = 1.0

ROW_READINGS = 10
"""A row speaks of the time between a reading and the one so many readings earlier."""

KEPT_READINGS = 5
"""One row in so many stays; on a terminal the others are shown until the next."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.epilog = "examples:\n  infermeter demo\n  infermeter demo --scenario idle --duration 30s"
    about = "; ".join(f"{scenario.name}: {scenario.about}" for scenario in SCENARIOS.values())
    parser.add_argument("--scenario", choices=SCENARIOS, default="healthy", help=about.replace("%", "%%"))
    parser.add_argument("--duration", type=_duration, default=60.0, metavar="DURATION", help="how long there is load (default 60s)")
    parser.add_argument("--keep", action="store_true", help="go on after the closing report, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Runs the demo: 0 also after Ctrl-C, 1 if one of its processes fails."""
    try:
        asyncio.run(_demo(SCENARIOS[args.scenario], args.duration, keep=args.keep))
    except DemoFailed as failure:
        print(f"infermeter: {failure}", file=sys.stderr)
        return 1
    return 0


def _duration(text: str) -> float:
    seconds = duration_seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: wanted something like 60s or 2m")
    return seconds


async def _demo(scenario: Scenario, seconds: float, *, keep: bool) -> None:
    """First what the server can do, then the sidecar, the server and the load beside each other."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"scenario {scenario.name}: {scenario.about}\n", flush=True)
    capacity = await _measured_capacity(scenario, stop)
    if capacity is None:
        return
    print(
        f"capacity {capacity:.0f} inferences/s with {scenario.in_flight} clients that never pause: the load is shares of it\n", flush=True
    )

    web_port, otlp_port, server_port = free_ports(3)
    web, server_url = f"http://127.0.0.1:{web_port}", f"http://127.0.0.1:{server_port}"
    async with contextlib.AsyncExitStack() as stack:
        config = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infermeter-demo-"))) / "config.yaml"
        config.write_text(configuration(scenario, web_port=web_port, otlp_http_port=otlp_port, today=datetime.now(UTC).date()))
        print(config.read_text())
        sidecar = await Child.start("sidecar", [sys.executable, "-m", "infermeter", "serve", "--config", str(config)], os.environ)
        stack.push_async_callback(sidecar.stop, STOP_SECONDS)
        server = await Child.start("server", server_command(scenario, port=server_port, otlp_http_port=otlp_port), SERVER_ENVIRONMENT)
        stack.push_async_callback(server.stop, STOP_SECONDS)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        load = await stack.enter_async_context(Load(f"{server_url}/infer", in_flight=scenario.in_flight))

        async def show() -> None:
            await _ready(http, f"{web}/-/ready")
            await _ready(http, f"{server_url}/ready")
            print(f"page     {web}/\nmetrics  {web}/metrics\nreport   {web}/api/v1/report\nserver   {server_url}/infer\n", flush=True)
            await _alongside(
                load.run(seconds, lambda elapsed: capacity * scenario.load_ratio(elapsed / seconds)),
                _table(http, web, load),
            )
            print(f"\n{report_text(await _settled_report(http, web))}", flush=True)
            if keep:
                print(f"\ncarrying on until Ctrl-C: {web}/", flush=True)
                await load.run(math.inf, lambda _: capacity * scenario.load_ratio(1))

        await _first(show(), stop, sidecar, server)


async def _measured_capacity(scenario: Scenario, stop: asyncio.Event) -> float | None:
    """Inferences per second of a server that no sidecar looks at: the report is to speak of the scenario alone. None: stopped."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    server = await Child.start("server", server_command(scenario, port=port), SERVER_ENVIRONMENT)
    try:
        async with aiohttp.ClientSession() as http, Load(f"{url}/infer", in_flight=scenario.in_flight) as load:

            async def measure() -> float:
                await _ready(http, f"{url}/ready")
                return await load.measured_capacity(CAPACITY_SECONDS)

            return await _first(measure(), stop, server)
    finally:
        await server.stop(STOP_SECONDS)


async def _first(work: Coroutine[Any, Any, T], stop: asyncio.Event, *children: Child) -> T | None:
    """The result of `work`; None if told to stop before. Raises: DemoFailed if a child ends before."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    watching = [asyncio.create_task(child.died()) for child in children]
    tasks: list[asyncio.Task[Any]] = [working, stopping, *watching]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for died in watching:
        if died in done:
            raise died.result()
    return working.result() if working in done else None


async def _alongside(work: Coroutine[Any, Any, None], companion: Coroutine[Any, Any, None]) -> None:
    """Runs `work` with a companion that ends with it."""
    beside = asyncio.create_task(companion)
    try:
        await work
    finally:
        beside.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beside


async def _ready(http: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get(url) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(POLL_SECONDS)
    raise DemoFailed(f"{url} isn't ready after {START_SECONDS:.0f} s")


async def _report(http: aiohttp.ClientSession, web: str) -> Report:
    try:
        async with http.get(f"{web}/api/v1/report", raise_for_status=True) as response:
            document: Report = await response.json()
            return document
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoFailed(f"no report from the sidecar: {error}") from error


async def _table(http: aiohttp.ClientSession, web: str, load: Load) -> None:
    """Prints a row for each reading, for ever."""
    terminal = sys.stdout.isatty()
    readings = deque([await _report(http, web)], maxlen=ROW_READINGS + 1)
    print(heading(), flush=True)
    count = 0
    while True:
        await asyncio.sleep(READING_SECONDS)
        readings.append(await _report(http, web))
        count += 1
        text = row(readings[0], readings[-1], offered_per_second=load.offered_per_second)
        print(drawn(text, stays=count % KEPT_READINGS == 0, terminal=terminal), end="", flush=True)


async def _settled_report(http: aiohttp.ClientSession, web: str) -> Report:
    """The report in which everything up to now is settled; after SETTLE_SECONDS whatever there is."""
    ended = time.time()
    while True:
        report = await _report(http, web)
        settled = report["report"]["settled_unix_seconds"]
        if (settled is not None and settled >= ended) or time.time() > ended + SETTLE_SECONDS:
            return report
        await asyncio.sleep(POLL_SECONDS)
