"""Accelerators whose power nothing tells: cost goes on without energy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families

from infermeter import cli
from support.running import JSON, Clock, running

TRITON = sorted((Path(__file__).parents[1] / "captures/triton").glob("00*.json"))
SPANS_END_NS = 1_795_401_868_922_697_610
SECOND_NS = 1_000_000_000

COUNTED = """
server: {kind: triton, name: edge, sampled: false, gpu_count: 2}
sla: {default: {quantile: 0.99, duration_seconds: 1}}
cost: {currency: EUR, as_of: 2026-11-01, source: test, rent: {per_hour: 3.6, per: gpu}}
gpu: {source: none}
windows: [1m]
"""


async def scraped(config: str, *, seconds: int) -> dict[str, float]:
    """What is exposed some time after the recorded spans: each sample by its name, and the sum of its labels' values."""
    clock = Clock(SPANS_END_NS - seconds * SECOND_NS)
    async with running(config, clock) as sidecar:
        clock.turn_to(SPANS_END_NS)
        for file in TRITON:
            assert await sidecar.send(file.read_bytes(), JSON) == 200
        for _ in range(200):
            clock.turn(1)
            text = await sidecar.text("/metrics", Accept="application/openmetrics-text; version=1.0.0")
            if "infermeter_window_cost_per_inference{" in text:
                break
    totals: dict[str, float] = {}
    for family in families(text):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals


def test_without_any_reading_cost_is_told_and_energy_is_absent() -> None:
    told = asyncio.run(scraped(COUNTED, seconds=60))
    assert told["infermeter_cost_per_hour"] == pytest.approx(2 * 3.6)
    assert told["infermeter_cost_total"] > 60 * 2 * 3.6 / 3600
    assert told["infermeter_inferences_observed_total"] == 330
    assert told["infermeter_window_cost_per_inference"] > 0
    powered = [name for name in told if "gpu" in name or "joules" in name or "watts" in name]
    assert powered == ["infermeter_gpu_samples_rejected_total"]  # a count of losses, which is 0
    assert told["infermeter_gpu_samples_rejected_total"] == 0


def test_such_a_configuration_has_nothing_to_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_text(COUNTED)
    assert cli.main(["check-config", str(path)]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("ok\n", "")
