"""Floods of exports at the shipped command: what it can't take it refuses with a hint, and the accounts of both sides agree exactly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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

HTTP = Flood("http", "", connections=600)
JSON = Flood("http", "", shape="triton", encoding="json", spans=510, connections=250)
GRPC = Flood("grpc", "", connections=600, channels=48)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@dataclass
class Seen:
    """What was seen of the sidecar amid a flood: how long each scrape took, by the clock and of the sidecar's own time, and its size."""

    scrape_seconds: list[float] = field(default_factory=list)
    own_seconds: list[float] = field(default_factory=list)
    resident_bytes: int = 0

    def __str__(self) -> str:
        ninety_ninths = [statistics.quantiles(each, n=100)[-1] for each in (self.scrape_seconds, self.own_seconds)]
        p99 = "{:.3f} s by the clock, {:.3f} s of its own".format(*ninety_ninths)
        return (
            f"{len(self.own_seconds)} scrapes, p99 {p99}, most {max(self.scrape_seconds):.3f} s; {self.resident_bytes / MEBIBYTE:.0f} MiB"
        )


def flooded_for(sidecar: Sidecar, floods: Sequence[Flood], seconds: float, seen: Seen) -> list[Accounts]:
    """What became of exports that were sent for so long, by sender; on the way, scrapes are answered and memory is bounded.

    What a scrape takes is asserted in time of the sidecar's own: on a busy machine, senders take the processor from it.
    """
    process = psutil.Process(sidecar.process.pid)
    addressed = [replace(flood, address=sidecar.addresses[f"otlp_{flood.transport}"]) for flood in floods]
    with flooded(addressed) as senders:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began, began_at = cpu_seconds(process), time.monotonic()
            assert "infermeter_spans_received_total" in sidecar.text("/metrics")
            seen.scrape_seconds.append(time.monotonic() - began_at)
            seen.own_seconds.append(cpu_seconds(process) - began)
            seen.resident_bytes = max(seen.resident_bytes, process.memory_info().rss)
            assert seen.own_seconds[-1] < ANSWER_SECONDS
            assert seen.resident_bytes < LIMIT_BYTES
            time.sleep(PAUSE_SECONDS)
        return accounts(senders)


def agrees(sidecar: Sidecar, protocol: str, told: Accounts) -> bool:
    """Whether what was received and refused is what senders were answered; nobody knows what became of those without an answer."""
    received = sidecar.value("spans_received_total", protocol=protocol) or 0
    refused = sidecar.value("exports_refused_total", protocol=protocol) or 0
    if not told.cut:
        return (received, refused) == (told.spans, told.refused.total())
    return 0 <= received - told.spans <= told.cut_spans and 0 <= refused - told.refused.total() <= told.cut


def recovers(sidecar: Sidecar) -> float:
    """Exports are taken again, and soon: after how many seconds."""
    began = time.monotonic()
    sidecar.until(lambda: sidecar.send(export(1))[0] == 200)
    seconds = time.monotonic() - began
    assert seconds < RECOVERY_SECONDS
    sidecar.until(lambda: sidecar.value("inferences_observed_total", model="m", outcome="ok") == 1)
    return seconds


@pytest.mark.faults
@pytest.mark.parametrize("floods", [(JSON,), (HTTP, GRPC)], ids=["json", "both"])
def test_a_flood_is_refused_with_hints_starves_nobody_and_is_accounted_for_exactly(floods: tuple[Flood, ...], tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as sidecar:
        told = flooded_for(sidecar, floods, SECONDS, Seen())
        for flood, one in zip(floods, told, strict=True):
            assert one.exports > 0, "starved"
            assert set(one.refused) <= {"503", "UNAVAILABLE"}
            assert one.refused.total() > 0, "not flooded"
            assert one.unhinted == 0
            assert agrees(sidecar, flood.transport, one), one
        recovers(sidecar)
        assert sidecar.stopped()[0] == 0
    assert not [line for line in sidecar.lines if " WARNING " in line or " ERROR " in line]
