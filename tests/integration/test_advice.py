"""Findings in the real program: told once they have held, on /metrics and under /api/v1/findings alike, by the thresholds in force."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from support.running import LISTEN, PROTOBUF, Clock, Running, metrics, running, until, value
from unit.otlp.exports import END_NS, body, span

S = 1_000_000_000
START_NS = END_NS // (10 * S) * 10 * S
EVERY = 10
HOLD = 60
COMPUTE, SERIALISE = 0.25, 0.2
CONFIG = """
web: {lifecycle: true}
server: {kind: infermeter, gpu_count: 1}
gpu: {source: none}
windows: [5m]
ledger: {span_delay: 5s}
sla: {default: {quantile: 0.9, duration_seconds: 2}}
cost: {currency: EUR, as_of: 2026-08-01, source: test, rent: {per_hour: 3.6}}
advice: {hold: 60s, minimum_history: 5m, thresholds: {stage_large_ratio: %s}}
"""


def inferences(first: int, end_ns: int) -> bytes:
    """An export of ten requests, one after the other within ten seconds, each of which computes and is then serialised."""
    spans = []
    for number in range(EVERY):
        at_ns = end_ns - (EVERY - number) * S
        computed_ns = at_ns + round(COMPUTE * S)
        stop_ns = computed_ns + round(SERIALISE * S)
        trace_id, root = (first + number).to_bytes(16), (first + number).to_bytes(8)
        whole = {"start_time_unix_nano": at_ns, "end_time_unix_nano": stop_ns}
        spans.append(span(0, {"infermeter.model": "chat"}, trace_id=trace_id, span_id=root, name="inference", **whole))
        for place, (name, begin_ns, until_ns) in enumerate((("compute", at_ns, computed_ns), ("serialisation", computed_ns, stop_ns))):
            spans.append(
                span(
                    trace_id=trace_id,
                    span_id=((first + number) * 4 + place + 2**40).to_bytes(8),
                    parent_span_id=root,
                    name=name,
                    kind=1,
                    start_time_unix_nano=begin_ns,
                    end_time_unix_nano=until_ns,
                )
            )
    return body(*spans, scope="infermeter")


async def serve(sidecar: Running, clock: Clock, seconds: int, *, first: int) -> tuple[str, list[bool]]:
    """Serves ten requests every ten seconds; the last metrics, and whether serialisation was a finding each time."""
    told, text = [], ""
    for number in range(seconds // EVERY):
        clock.turn(EVERY)
        assert await sidecar.send(inferences(first + number * EVERY, clock.unix_ns), PROTOBUF) == 200
        await sidecar.ticks.one()
        text = await metrics(sidecar)
        told.append(value(text, "finding", code="serialisation_bound", model="chat", level="warning") == 1)
    return text, told


async def findings(sidecar: Running) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await sidecar.text("/api/v1/findings"))
    return answer


def test_findings_are_told_once_they_have_held_and_by_the_thresholds_in_force(tmp_path: Path) -> None:
    file = tmp_path / "infermeter.yaml"

    async def scenario() -> None:
        clock = Clock(START_NS)
        async with running(LISTEN + CONFIG % 0.3, clock, file=file) as sidecar:
            text, told = await serve(sidecar, clock, 300, first=1)
            since = told.index(True) * EVERY
            assert HOLD + 30 <= since < 200, "the window is half a minute long at least, and then it holds"
            assert all(told[since // EVERY :])
            (finding,) = (await findings(sidecar))["findings"]
            assert finding == {
                "code": "serialisation_bound",
                "level": "warning",
                "model": "chat",
                "evidence": {
                    "serialisation_ratio": pytest.approx(SERIALISE / (COMPUTE + SERIALISE)),
                    "window": "5m",
                    "quality": "measured",
                },
                "what_to_do": finding["what_to_do"],
                "falsified_by": "The part of serialisation falls to 0.3 or below at the same traffic.",
                "saving_per_hour": None,
            }
            assert value(text, "finding_saving_per_hour") is None
            file.write_text(LISTEN + CONFIG % 0.9)
            assert (await sidecar.reload())[0] == 200
            _, told = await serve(sidecar, clock, 120, first=10_000)
            gone = told.index(False) * EVERY
            assert HOLD - EVERY <= gone <= HOLD + 20
            assert not any(told[gone // EVERY :])

    asyncio.run(scenario())


def test_what_a_finding_would_save_and_what_binds_are_on_metrics_as_they_are_in_the_report(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = Clock(START_NS)
        async with running(LISTEN + CONFIG % 0.9, clock, file=tmp_path / "infermeter.yaml") as sidecar:
            text, _ = await serve(sidecar, clock, 1300, first=1)
            (finding,) = (await findings(sidecar))["findings"]
            report = await sidecar.report()
        assert finding["code"] == "over_provisioned"
        needed = finding["evidence"]["peak_load_ratio"] * 1.3
        assert 0.3 < needed < 0.65
        assert finding["saving_per_hour"] == pytest.approx(3.6 * (1 - needed))
        assert value(text, "finding", code="over_provisioned", level="warning") == 1
        assert value(text, "finding_saving_per_hour", code="over_provisioned", currency="EUR") == pytest.approx(finding["saving_per_hour"])
        assert value(text, "peak_load_ratio") == pytest.approx(finding["evidence"]["peak_load_ratio"])
        assert value(text, "resource_bound", resource="unknown") == 1
        assert value(text, "resource_bound") == 1, "of the set exactly one"
        assert report["report"]["findings"] == [finding]  # type: ignore[index]

    asyncio.run(scenario())


def test_what_candidates_cost_is_told_of_those_that_are_priced(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    about = {"provider": "AWS", "currency": "EUR", "as_of": "2026-08-01", "source": "on demand"}
    path.write_text(json.dumps([{"device": device, "per_hour": cost, **about} for device, cost in (("l4", 0.8), ("t4", 0.5))]))
    config = CONFIG.replace("source: none", "source: simulated, interval: 20ms").replace("advice: {", f"advice: {{prices_file: {path}, ")

    async def scenario() -> None:
        clock = Clock(START_NS)
        async with running(LISTEN + config % 0.3, clock) as sidecar:
            await serve(sidecar, clock, 10, first=1)

            def is_told(text: str) -> bool:
                clock.turn(1)  # the reader, whose thread began at any time, needs some of it to pass between two looks
                return value(text, "candidate_cost_per_hour", product="l4", currency="EUR") == 0.8

            text = await until(sidecar, is_told)
        assert value(text, "candidate_cost_per_hour", product="t4") == 0.5
        assert value(text, "candidate_cost_per_hour") == pytest.approx(1.3)
        assert value(text, "candidate_cost_per_hour", verdict="fits") is None

    asyncio.run(scenario())
