"""The real program beside what it reads besides spans: the host's power, the server's own page, the file that outlives it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from support.patience import SOON_SECONDS
from support.running import Clock, running, until, value

START_NS = 1_795_401_860_000_000_000
OPENMETRICS = "application/openmetrics-text"

HOST = """
server: {kind: triton, name: test}
cost:
  currency: EUR
  as_of: 2026-11-01
  source: test
  purchase: {price: 30000, lifetime_years: 3}
  power: {price_per_kwh: 0.36, host_watts: measured}
gpu: {source: none, interval: 20ms}
host_power: {source: rapl}
"""


def powercap(root: Path, microjoules: int) -> None:
    """One processor package, as the kernel's powercap tree shows it."""
    zone = root / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")


def test_the_host_is_paid_by_its_own_counter(tmp_path: Path) -> None:
    async def told() -> None:
        clock = Clock(START_NS)
        powercap(tmp_path, 1_000_000)
        async with running(HOST, clock, root=tmp_path) as sidecar:
            await until(sidecar, lambda text: value(text, "host_energy_joules_total", source="rapl") == 0)
            for second in range(1, 100):
                powercap(tmp_path, 1_000_000 + second * 100_000_000)
                clock.turn(1.0)
                await asyncio.sleep(0.03)
                text = await sidecar.text("/metrics", Accept=OPENMETRICS)
                joules = value(text, "host_energy_joules_total", source="rapl") or 0
                if joules >= 1000:
                    break
        assert joules >= 1000
        assert value(text, "cost_total", component="power") == pytest.approx(joules / 3.6e6 * 0.36)

    asyncio.run(told())


@asynccontextmanager
async def triton(answer: dict[str, str]) -> AsyncIterator[str]:
    """A server's /metrics that says what `answer["text"]` is at the moment; its URL."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=answer["text"], status=200 if answer["text"] else 503)

    application = web.Application()
    application.router.add_get("/metrics", page)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()


def served(ok: int, *, failed: int = 0) -> str:
    return (
        f'nv_inference_request_success{{model="mlp",version="1"}} {ok}\n'
        f'nv_inference_request_failure{{model="mlp",version="1",reason="OTHER"}} {failed}\n'
    )


def test_a_server_that_cannot_be_asked_is_a_state() -> None:
    async def told() -> None:
        answer = {"text": served(100)}
        async with triton(answer) as url:
            config = f'server: {{kind: triton, metrics_url: "{url}", metrics_interval: 100ms}}\ngpu: {{source: none}}\n'
            async with running(config, Clock(START_NS)) as sidecar:
                up = await until(sidecar, lambda text: value(text, "server_scrape_up") == 1)
                answer["text"] = ""
                down = await until(sidecar, lambda text: value(text, "server_scrape_up") == 0)
        assert value(up, "inferences_source", source="server") == 1
        assert value(down, "inferences_source", source="server") == 1
        assert value(down, "inferences_total") == value(up, "inferences_total")

    asyncio.run(told())


def test_what_was_learnt_outlives_a_restart(tmp_path: Path) -> None:
    async def told() -> None:
        path = tmp_path / "state.json"
        config = f"state_file: {path}\ngpu: {{source: none}}\n"
        path.write_text("{")
        async with running(config, Clock(START_NS)) as sidecar:
            text = await sidecar.text("/metrics", Accept=OPENMETRICS)
            assert value(text, "state_files_rejected_total") == 1
        assert json.loads(path.read_text())["schema"] == 1
        assert sum("broken" in path.name for path in tmp_path.iterdir()) == 1  # noqa: ASYNC240 - a test's own folder
        async with running(config, Clock(START_NS)) as sidecar:
            text = await sidecar.text("/metrics", Accept=OPENMETRICS)
            assert value(text, "state_files_rejected_total") == 0

    asyncio.run(told())


def test_what_was_learnt_is_saved_every_minute(tmp_path: Path) -> None:
    async def told() -> None:
        path = tmp_path / "state.json"
        clock = Clock(START_NS)
        async with running(f"state_file: {path}\ngpu: {{source: none}}\n", clock):
            assert not path.exists()
            clock.turn(61.0)
            async with asyncio.timeout(SOON_SECONDS):
                while not path.exists():  # noqa: ASYNC110 - another thread writes it
                    await asyncio.sleep(0.05)

    asyncio.run(told())
