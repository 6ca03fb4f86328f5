"""What `/-/ready` tells apart: ready with and without GPUs and spans, and the end. It waits for no GPU."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import aiohttp
import pytest

from infermeter import app
from infermeter.errors import GpuUnavailable
from infermeter.mapping import load_mappings
from infermeter.model import GpuIdentity, GpuSample
from infermeter.parsing.structure import load_config
from infermeter.prices.listing import NOTHING_LISTED
from infermeter.reloads import Offer
from infermeter.systemd import Supervisor
from support.patience import SOON_SECONDS
from support.running import JSON, LISTEN, Clock, Running, running

NOW_NS = 1_795_401_868_000_000_000
SIMULATED = "server: {kind: infermeter}\ngpu: {source: simulated, interval: 100ms}\n"
NONE = "server: {kind: infermeter}\ngpu: {source: none}\n"
SPAN = {
    "traceId": "1" * 32,
    "spanId": "1" * 16,
    "name": "inference",
    "kind": 2,
    "startTimeUnixNano": str(NOW_NS - 10),
    "endTimeUnixNano": str(NOW_NS),
}
EXPORT = json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "infermeter"}, "spans": [SPAN]}]}]}).encode()


async def told(sidecar: Running, text: str) -> None:
    """Until it says this."""
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            if await sidecar.text("/-/ready") == f"{text}\n":
                return
            await asyncio.sleep(0.01)


def test_without_gpus_and_spans_it_is_ready_and_says_so_until_spans_come() -> None:
    async def scenario() -> None:
        async with running(NONE, Clock(NOW_NS)) as sidecar:
            await told(sidecar, "ready, without a GPU: gpu.source is none, no spans yet")
            assert await sidecar.send(EXPORT, JSON) == 200
            await told(sidecar, "ready, without a GPU: gpu.source is none")

    asyncio.run(scenario())


def test_with_gpus_and_spans_it_is_just_ready() -> None:
    async def scenario() -> None:
        async with running(SIMULATED, Clock(NOW_NS)) as sidecar:
            await told(sidecar, "ready, no spans yet")
            assert await sidecar.send(EXPORT, JSON) == 200
            await told(sidecar, "ready")

    asyncio.run(scenario())


@dataclass
class Driver:
    """A source whose opening hangs until it is let go, and then gives what it is told to."""

    gpus: tuple[GpuIdentity, ...] | GpuUnavailable
    free: threading.Event = field(default_factory=threading.Event)
    name: str = "nvml"
    asking: str | None = None
    rejected: dict[object, int] = field(default_factory=dict)

    def open(self) -> tuple[GpuIdentity, ...]:
        self.free.wait()
        if isinstance(self.gpus, GpuUnavailable):
            raise self.gpus
        return self.gpus

    def read(self, _now_ns: int, *, without: Collection[str] = ()) -> Sequence[GpuSample]:
        del without
        return ()

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("gpus", "text"),
    [
        ((), "ready, without a GPU: nvml shows none of this server's, no spans yet"),
        (GpuUnavailable("no driver"), "ready, without a GPU: nvml is unavailable, no spans yet"),
    ],
)
def test_a_driver_that_hangs_fails_or_shows_nothing_is_told_and_waited_for_by_nobody(
    gpus: tuple[GpuIdentity, ...] | GpuUnavailable, text: str
) -> None:
    async def scenario() -> None:
        driver, stop = Driver(gpus), asyncio.Event()
        listening: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            app.run(
                load_config(f"{LISTEN}server: {{kind: infermeter}}\ngpu: {{interval: 100ms, timeout: 200ms}}\n", "test"),
                load_mappings("infermeter", {}),
                gpus=lambda _: driver,  # type: ignore[arg-type, return-value]  # its attributes are plain
                now=Clock(NOW_NS),
                stop=stop,
                on_listen=lambda addresses: listening.set_result(dict(addresses)),
            )
        )
        async with aiohttp.ClientSession() as http:
            sidecar = Running(await listening, http, stop, asyncio.Event(), serving)
            await told(sidecar, "ready, without a GPU: nvml hasn't answered yet, no spans yet")
            await told(sidecar, "ready, without a GPU: nvml doesn't answer in time, no spans yet")
            driver.free.set()
            await told(sidecar, text)
            await sidecar.stopped()

    asyncio.run(scenario())


def test_on_a_machine_without_a_driver_it_says_so_and_nothing_of_spans_where_none_are_read() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        listening: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        config = load_config(f"{LISTEN}server: {{kind: infermeter}}\n", "test")
        on_listen = lambda addresses: listening.set_result(dict(addresses))  # noqa: E731 - one line of a call
        serving = asyncio.create_task(app.run(config, (), gpus=lambda _: None, now=Clock(NOW_NS), stop=stop, on_listen=on_listen))
        async with aiohttp.ClientSession() as http:
            sidecar = Running(await listening, http, stop, asyncio.Event(), serving)
            await told(sidecar, "ready, without a GPU: no driver is here")
            await sidecar.stopped()

    asyncio.run(scenario())


def test_before_it_listens_and_once_it_stops_it_is_not_ready() -> None:
    async def scenario() -> None:
        clock, stop = Clock(NOW_NS), asyncio.Event()
        config = load_config(f"{LISTEN}{NONE}", "test")
        sidecar = app.Sidecar(
            Offer(config, NOTHING_LISTED),
            (),
            gpus=lambda _: None,
            host=lambda _: None,
            reload=None,
            state=None,
            environ={},
            now=clock,
            pause=app.a_second,
            stop=stop,
            supervisor=Supervisor(None),
        )
        assert sidecar.readiness() == (False, "starting")
        assert await sidecar.reload() == (False, "not reloaded: it is starting")
        serving = asyncio.create_task(sidecar.serve())
        await asyncio.sleep(0)
        assert sidecar.readiness() == (True, "ready, without a GPU: gpu.source is none")
        stop.set()
        await serving
        sidecar.stop()
        assert sidecar.readiness() == (False, "stopping")
        assert await sidecar.reload() == (False, "not reloaded: it is stopping")

    asyncio.run(scenario())
