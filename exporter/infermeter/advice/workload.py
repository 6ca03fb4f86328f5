"""What a model is used for, which decides by what hardware is ranked: latency, throughput, or performance per watt. Pure."""

from __future__ import annotations

from typing import Final

from infermeter.catalogue import Device
from infermeter.config import Config
from infermeter.model import SlaTarget, Workload

INTERACTIVE_SECONDS: Final = 1.0
"""Somebody waits for an answer that shall take at most so long."""

_EMBEDDED: Final = frozenset({"module", "usb"})


def workload(config: Config, sla: SlaTarget | None, device: Device | None) -> Workload:
    """As configured; else `edge` on an embedded device, `latency` where a target is interactive or on tokens, `batch` otherwise."""
    if config.server.workload != "auto":
        return config.server.workload
    if device is not None and device.form_factor in _EMBEDDED:
        return "edge"
    if sla is None:
        return "batch"
    waits_for_tokens = sla.ttft_seconds is not None or sla.tpot_seconds is not None
    waits = sla.duration_seconds is not None and sla.duration_seconds <= INTERACTIVE_SECONDS
    return "latency" if waits_for_tokens or waits else "batch"
