"""The real program beside a server that emits no spans: what its own page alone makes of cost, durations and stages."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from infermeter.app import Instant
from support.running import Clock, metrics, running, until, value

START_NS = 1_795_401_860_000_000_000
STEP_SECONDS = 30
STEPS = 17

CONFIG = """
server: {{kind: ovms, name: vision, metrics_url: "{url}", metrics_interval: 100ms}}
cost: {{currency: EUR, as_of: 2026-11-01, source: test, rent: {{per_hour: 3.6, per: instance}}}}
sla: {{default: {{quantile: 0.99, duration_seconds: 1}}}}
gpu: {{source: none, interval: 3s}}
windows: [1m]
"""


class AskedClock(Clock):
    """A clock that knows when a page was asked for: the thread that asks for it reads the clock first, and asks for one at a time."""

    asked_ns = START_NS

    def __call__(self) -> Instant:
        instant = super().__call__()
        if threading.current_thread() is not threading.main_thread():
            self.asked_ns = instant.unix_ns
        return instant


class Ovms:
    """OpenVINO Model Server's page at ten inferences a second, each 8 ms long, 1 ms of it in the queue, as it is when it is asked for.

    What the clock says once the answer is written may be another step: the sidecar would book its inferences in the step before.
    """

    def __init__(self, clock: AskedClock) -> None:
        self._clock = clock

    def page(self) -> str:
        seconds = (self._clock.asked_ns - START_NS) // 1_000_000_000
        served = 10 * seconds
        lines = [
            f'ovms_requests_success{{api="KServe",interface="gRPC",method="ModelInfer",name="resnet",version="1"}} {served}',
            f'ovms_current_requests{{name="resnet",version="1"}} {int(seconds > 0)}',
        ]
        for name, labels, us, edge in (
            ("request", 'interface="gRPC",name="resnet",version="1"', 8000, 10000),
            ("wait_for_infer_req", 'name="resnet",version="1"', 1000, 2000),
            ("inference", 'name="resnet",version="1"', 6000, 10000),
        ):
            buckets = {edge // 2: 0 if us > edge // 2 else served, edge: served, "+Inf": served}
            lines += [f'ovms_{name}_time_us_bucket{{{labels},le="{le}"}} {count}' for le, count in buckets.items()]
            lines += [f"ovms_{name}_time_us_sum{{{labels}}} {served * us}", f"ovms_{name}_time_us_count{{{labels}}} {served}"]
        return "\n".join(lines) + "\n"

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=self.page())

        application = web.Application()
        application.router.add_get("/metrics", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
        finally:
            await runner.cleanup()


def test_a_server_without_spans_has_cost_per_inference_durations_and_stages_by_its_own_page() -> None:
    async def told() -> tuple[str, dict[str, Any]]:
        clock = AskedClock(START_NS)
        server = Ovms(clock)
        async with server.url() as url, running(CONFIG.format(url=url), clock) as sidecar:
            await until(sidecar, lambda text: value(text, "inferences_source", source="server") == 1)
            for step in range(1, STEPS + 1):
                clock.turn(STEP_SECONDS)
                served = float(10 * step * STEP_SECONDS)
                await until(sidecar, lambda text, served=served: value(text, "inferences_total", outcome="ok") == served)  # type: ignore[misc]
            return await metrics(sidecar), json.loads(json.dumps(await sidecar.report()))

    text, report = asyncio.run(told())
    assert value(text, "window_cost_per_inference", model="resnet", window="1m") == pytest.approx(0.0001, rel=0.01)
    assert value(text, "inferences_observed_total") == 0
    booked = value(text, "inference_duration_seconds_count", model="resnet") or 0
    assert booked >= 10 * STEP_SECONDS * (STEPS - 6)
    assert value(text, "inference_duration_seconds_sum", model="resnet") == pytest.approx(0.008 * booked)
    assert value(text, "inference_duration_seconds_bucket", model="resnet", le="0.01") == booked
    assert value(text, "inference_duration_seconds_bucket", model="resnet", le="0.0025") == 0
    for stage, seconds in {"queue": 0.001, "compute": 0.006, "other": 0.001}.items():
        assert value(text, "stage_duration_seconds_count", stage=stage) == booked
        assert value(text, "stage_duration_seconds_sum", stage=stage) == pytest.approx(seconds * booked)
        assert value(text, "stage_quality", stage=stage, quality="fallback") == 1
    assert value(text, "stage_quality") == 3
    assert value(text, "window_sla_state", state="insufficient") == 1
    assert value(text, "inferences_observed_within_sla_total") == 0
    assert value(text, "window_latency_at_sla_quantile_seconds") is None
    (dominant,) = report["dominant_stage"]
    assert (dominant["labels"]["stage"], dominant["value"]) == ("compute", pytest.approx(0.75))
