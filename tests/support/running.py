"""The real program in the test's own process: on ports of its own, under a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from infermeter import app
from infermeter.commands.configuration import listed, offered
from infermeter.config import Config
from infermeter.gpu.sources import gpu_source
from infermeter.host.sources import host_source
from infermeter.mapping import load_mappings
from infermeter.model import Snapshot
from infermeter.parsing.structure import load_config
from infermeter.reloads import Reload
from infermeter.state import StateFile
from support.patience import SOON_SECONDS

LISTEN = 'listen: {web: "127.0.0.1:0", otlp_grpc: "127.0.0.1:0", otlp_http: "127.0.0.1:0"}\n'
PROTOBUF = "application/x-protobuf"
JSON = "application/json"


@dataclass
class Clock:
    """Wall-clock and monotonic time together, standing still until it is turned."""

    unix_ns: int
    monotonic_ns: int = field(default=0)

    def __call__(self) -> app.Instant:
        return app.Instant(self.unix_ns, self.monotonic_ns)

    def turn_to(self, unix_ns: int) -> None:
        """Both clocks go on to this instant."""
        self.monotonic_ns += unix_ns - self.unix_ns
        self.unix_ns = unix_ns

    def turn(self, seconds: float) -> None:
        """Both clocks go on."""
        self.turn_to(self.unix_ns + round(seconds * 1e9))


class Ticks:
    """The sidecar's ticks: one a second of real time, as it has them, and one whenever the test wants it."""

    def __init__(self) -> None:
        self._wanted, self._resting = asyncio.Event(), asyncio.Event()

    async def pause(self, stop: asyncio.Event) -> None:
        """Until the next tick."""
        self._resting.set()
        waiting = [asyncio.ensure_future(event.wait()) for event in (stop, self._wanted)]
        await asyncio.wait(waiting, timeout=app.ADVANCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for wait in waiting:
            wait.cancel()
        self._wanted.clear()
        self._resting.clear()

    async def one(self) -> None:
        """Has a tick that begins now, and waits for its end."""
        await self._resting.wait()
        self._resting.clear()
        self._wanted.set()
        await self._resting.wait()


@dataclass(frozen=True)
class Running:
    """A running sidecar and a client beside it."""

    addresses: Mapping[str, str]
    http: aiohttp.ClientSession
    stop: asyncio.Event
    hangup: asyncio.Event
    serving: asyncio.Task[Snapshot]
    ticks: Ticks = field(default_factory=Ticks)

    async def stopped(self) -> Snapshot:
        """Stops it as SIGTERM does; what it had counted."""
        self.stop.set()
        return await self.serving

    async def send(self, body: bytes, content_type: str, **headers: str) -> int:
        """Exports over HTTP; the status."""
        url = f"http://{self.addresses['otlp_http']}/v1/traces"
        async with self.http.post(url, data=body, headers={"Content-Type": content_type, **headers}) as response:
            await response.read()
            return response.status

    async def reload(self) -> tuple[int, str]:
        """Asks it over HTTP to read its file anew; the status and what is said."""
        async with self.http.post(f"http://{self.addresses['web']}/-/reload") as response:
            return response.status, await response.text()

    async def text(self, path: str, **headers: str) -> str:
        """A page of the web face."""
        async with self.http.get(f"http://{self.addresses['web']}{path}", headers=headers) as response:
            assert response.status == 200, path
            return await response.text()

    async def report(self) -> dict[str, object]:
        """What /api/v1/report says."""
        async with self.http.get(f"http://{self.addresses['web']}/api/v1/report") as response:
            answer: dict[str, object] = await response.json()
            return answer


OPENMETRICS = "application/openmetrics-text"


def value(text: str, name: str, **labels: str) -> float | None:
    """The sum of the samples of this name (without prefix) that carry these labels; None where there is none."""
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"infermeter_{name}" and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None


async def metrics(sidecar: Running) -> str:
    """What /metrics says, as OpenMetrics."""
    return await sidecar.text("/metrics", Accept=OPENMETRICS)


async def until(sidecar: Running, holds: Callable[[str], bool]) -> str:
    """The metrics, once they are so."""
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            text = await metrics(sidecar)
            if holds(text):
                return text
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(config: str, clock: Clock, *, root: Path = Path("/"), file: Path | None = None) -> AsyncIterator[Running]:
    """`infermeter serve` with this configuration, stopped at the end as SIGTERM does; `root` is where its file system begins.

    `file` is where its configuration is from: there it is written to, and what it holds later is what a reload reads.
    """
    settings = _settings(config if "listen:" in config else LISTEN + config, file)
    stop, hangup, ticks = asyncio.Event(), asyncio.Event(), Ticks()
    listening: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        app.run(
            settings,
            load_mappings(settings.server.kind, {}),
            gpus=lambda busy_share: gpu_source(settings.gpu, busy_share=busy_share, root=root),
            host=lambda gpu_source: host_source(settings.host_power, root=root, gpu_source=gpu_source),
            listed=listed(settings),
            reload=None if file is None else Reload(lambda: offered(str(file), {}), asked=hangup),
            state=StateFile(settings.state_file) if settings.state_file else None,
            now=clock,
            pause=ticks.pause,
            stop=stop,
            on_listen=listening.set_result,
        )
    )
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    async with aiohttp.ClientSession() as http:
        sidecar = Running(listening.result(), http, stop, hangup, serving, ticks)
        yield sidecar
        await sidecar.stopped()


def _settings(text: str, file: Path | None) -> Config:
    if file is not None:
        file.write_text(text)
    return load_config(text, "test")
