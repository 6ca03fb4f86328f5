"""Floods of exports at the shipped command: what it can't take it refuses with a hint, and the accounts of both sides agree exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from faults.flooding import Accounts, Flood, accounts, flooded
from faults.serving import LISTEN, Sidecar, export, serving

MEBIBYTE = 1 << 20
LIMIT_BYTES = 512 * MEBIBYTE
IN_FLIGHT_BYTES = 64 * MEBIBYTE
CONFIG = f"""
{LISTEN}
server: {{kind: auto, name: test, sampled: false}}
sla: {{default: {{quantile: 0.99, duration_seconds: 2}}}}
gpu: {{source: none}}
limits: {{memory_bytes: {LIMIT_BYTES}, in_flight_bytes: {IN_FLIGHT_BYTES}}}
"""
ANSWER_SECONDS = 1.0
RECOVERY_SECONDS = 5.0
PAUSE_SECONDS = 0.2
SECONDS = 15.0

HTTP = Flood("http", "", connections=200)
JSON = Flood("http", "", shape="triton", encoding="json", spans=510, connections=100)
GRPC = Flood("grpc", "", connections=200, channels=16)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def flooded_for(
    sidecar: Sidecar, floods: Sequence[Flood], seconds: float, *, meanwhile: Callable[[], None] = lambda: None
) -> list[Accounts]:
    """What became of exports that were sent for so long, by sender; on the way, scrapes are answered and memory is bounded.

    How long a scrape takes is told in time of the sidecar's own: on a busy machine, senders take the processor from it.
    """
    process = psutil.Process(sidecar.process.pid)
    addressed = [replace(flood, address=sidecar.addresses[f"otlp_{flood.transport}"]) for flood in floods]
    with flooded(addressed) as senders:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = cpu_seconds(process)
            assert "infermeter_spans_received_total" in sidecar.text("/metrics")
            assert cpu_seconds(process) - began < ANSWER_SECONDS
            assert process.memory_info().rss < LIMIT_BYTES
            meanwhile()
            time.sleep(PAUSE_SECONDS)
        return accounts(senders)


def agrees(sidecar: Sidecar, protocol: str, told: Accounts) -> bool:
    """Whether what was received and refused is what senders were answered; nobody knows what became of those without an answer."""
    received = sidecar.value("spans_received_total", protocol=protocol) or 0
    refused = sidecar.value("exports_refused_total", protocol=protocol) or 0
    if not told.cut:
        return (received, refused) == (told.spans, told.refused.total())
    return 0 <= received - told.spans <= told.cut_spans and 0 <= refused - told.refused.total() <= told.cut


def recovers(sidecar: Sidecar) -> None:
    """Exports are taken again, and soon."""
    began = time.monotonic()
    sidecar.until(lambda: sidecar.send(export(1))[0] == 200)
    assert time.monotonic() - began < RECOVERY_SECONDS
    sidecar.until(lambda: sidecar.value("inferences_observed_total", model="m", outcome="ok") == 1)


@pytest.mark.faults
@pytest.mark.parametrize("floods", [(JSON,), (HTTP, GRPC)], ids=["json", "both"])
def test_a_flood_is_refused_with_hints_starves_nobody_and_is_accounted_for_exactly(floods: tuple[Flood, ...], tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as sidecar:
        told = flooded_for(sidecar, floods, SECONDS)
        for flood, one in zip(floods, told, strict=True):
            assert one.exports > 0, "starved"
            assert set(one.refused) <= {"503", "UNAVAILABLE"}
            assert one.refused.total() > 0, "not flooded"
            assert one.unhinted == 0
            assert agrees(sidecar, flood.transport, one), one
        recovers(sidecar)
        assert sidecar.stopped()[0] == 0
    assert not [line for line in sidecar.lines if " WARNING " in line or " ERROR " in line]
