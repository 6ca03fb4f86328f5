"""What a model is used for, which decides by what hardware is ranked: latency, throughput, or performance per watt. Pure."""

from __future__ import annotations

from typing import Final

from infermeter.catalogue import Device
from infermeter.config import Config
from infermeter.model import SlaTarget, Workload

INTERACTIVE_SECONDS: Final = 1.0
"""Somebody waits for an answer that shall take at most so long."""

SMALL_BATCH: Final = 8.0
"""Up to so many inferences at once memory bandwidth decides rather than arithmetic. Design choice: arithmetic binds far above it."""


def workload(config: Config, sla: SlaTarget | None, device: Device | None, *, batch_mean: float | None) -> Workload:
    """As configured; else `edge` on an embedded device, `latency` where a target is interactive or on tokens, `batch` without a target.

    A target that is neither leaves it to the traffic: `latency` where it is served in batches as small as SMALL_BATCH (`batch_mean`, None:
    nothing tells). That answers are streamed says nothing: a client that waits for no answer in time may stream it all the same.
    """
    if config.server.workload != "auto":
        return config.server.workload
    if device is not None and device.is_embedded:
        return "edge"
    if sla is None:
        return "batch"
    waits_for_tokens = sla.ttft_seconds is not None or sla.tpot_seconds is not None
    waits = sla.duration_seconds is not None and sla.duration_seconds <= INTERACTIVE_SECONDS
    is_small = batch_mean is not None and batch_mean <= SMALL_BATCH
    return "latency" if waits_for_tokens or waits or is_small else "batch"
