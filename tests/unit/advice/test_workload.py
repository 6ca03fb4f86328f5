"""What a model is used for: as configured, else by the device, the SLA, and the traffic where that leaves it open."""

from __future__ import annotations

import pytest

from infermeter.advice.workload import workload
from infermeter.catalogue import Device, shipped_catalogue
from infermeter.config import Config, Server
from infermeter.model import SlaTarget, Workload

JETSON = shipped_catalogue().named("jetson-agx-orin-64gb")
L4 = shipped_catalogue().named("l4")
FAST, SLOW = SlaTarget(0.99, 1.0), SlaTarget(0.99, 1.001)


@pytest.mark.parametrize(
    ("sla", "device", "batch", "expected"),
    [
        (None, None, None, "batch"),
        (None, L4, 1.0, "batch"),
        (FAST, L4, 100.0, "latency"),
        (SLOW, L4, None, "batch"),
        (SLOW, L4, 8.0, "latency"),
        (SLOW, L4, 8.1, "batch"),
        (SlaTarget(0.99, None, 3.0), None, 100.0, "latency"),
        (SlaTarget(0.99, None, None, 0.1), None, 100.0, "latency"),
        (SlaTarget(0.99), None, None, "batch"),
        (FAST, JETSON, 1.0, "edge"),
        (None, JETSON, None, "edge"),
    ],
)
def test_it_follows_from_device_sla_and_traffic(
    sla: SlaTarget | None, device: Device | None, batch: float | None, expected: Workload
) -> None:
    assert workload(Config(), sla, device, batch_mean=batch) == expected


@pytest.mark.parametrize("configured", ["latency", "batch", "edge"])
def test_what_is_configured_decides(configured: Workload) -> None:
    assert workload(Config(server=Server(workload=configured)), FAST, JETSON, batch_mean=1.0) == configured
