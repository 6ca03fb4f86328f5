"""Which resource binds the server while it computes: by the GPUs' own counters, else by what the server estimates of its work. Pure.

Utilisation as drivers tell it says only that something ran, never what held it up: by it alone the bound is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from infermeter.advice.batching import waits_needlessly
from infermeter.advice.premises import Premises
from infermeter.catalogue import Device
from infermeter.model import Resource

ACHIEVABLE_BANDWIDTH_RATIO: Final = 0.8
"""Of the peak. Source: aiconfigurator, mem_bw_empirical_scaling_factor of its systems."""

_MEMORY_OVER_COMPUTE: Final = 1.5
_LEAST_BUSY_SECONDS: Final = 60.0


class Pressure(NamedTuple):
    """How much of what can be achieved of each resource was used, while the server was busy (0 to 1), and who says so."""

    memory_ratio: float
    compute_ratio: float
    told_by: str


def resource_bound(premises: Premises) -> Resource | None:
    """What binds in the longest window; None while nothing much runs, `unknown` where nothing tells.

    Source: design choices (Williams, Waterman and Patterson 2009 for the idea of a ceiling each), configurable below `advice.thresholds`.
    """
    limits, busy = premises.thresholds, busy_ratio(premises)
    if any(waits_needlessly(premises, seen) for seen in premises.models):
        return "queue"
    if busy is None or busy < limits.busy_ratio:
        return None
    used = pressure(premises)
    if used is None:
        return "unknown"
    if used.memory_ratio >= limits.memory_bound_ratio and used.memory_ratio > _MEMORY_OVER_COMPUTE * used.compute_ratio:
        return "memory"
    if used.compute_ratio >= limits.compute_bound_ratio and used.compute_ratio > used.memory_ratio:
        return "compute"
    low = limits.launch_bound_ratio
    utilisation = premises.utilisation_ratio
    if used.memory_ratio < low and used.compute_ratio < low and utilisation is not None and utilisation > limits.utilisation_high_ratio:
        return "launch"
    return "unknown"


def busy_ratio(premises: Premises) -> float | None:
    """The part of the longest window in which the GPUs computed: as they tell, else as the ledger settled; None where neither does."""
    if premises.utilisation_ratio is not None:
        return premises.utilisation_ratio
    window = premises.window
    return window.busy_seconds / window.accrued_seconds if window is not None and window.accrued_seconds > 0 else None


def pressure(premises: Premises) -> Pressure | None:
    """How hard memory and arithmetic were used while busy; None where neither counters nor estimates tell."""
    busy = busy_ratio(premises)
    if not busy:
        return None
    return _by_counters(premises, busy) or _by_estimates(premises, busy)


def _by_counters(premises: Premises, busy: float) -> Pressure | None:
    told = premises.hardware
    if told.dram_active_ratio is None or told.tensor_active_ratio is None:
        return None
    memory = told.dram_active_ratio / busy / ACHIEVABLE_BANDWIDTH_RATIO
    return Pressure(min(1.0, memory), min(1.0, told.tensor_active_ratio / busy), "counters")


def _by_estimates(premises: Premises, busy: float) -> Pressure | None:
    """Of facts that were verified alone: what they are held against decides."""
    window, device = premises.window, premises.device
    if window is None or device is None or window.flops_per_gpu is None or window.memory_bytes_per_gpu is None:
        return None
    rates, busy_seconds = _peaks(device, premises.config.server.precision), busy * window.accrued_seconds
    if rates is None or busy_seconds < _LEAST_BUSY_SECONDS:
        return None
    memory = window.memory_bytes_per_gpu / busy_seconds / (rates["bandwidth"] * ACHIEVABLE_BANDWIDTH_RATIO)
    return Pressure(min(1.0, memory), min(1.0, window.flops_per_gpu / busy_seconds / rates["flops"]), "server")


def _peaks(device: Device, precision: str | None) -> Mapping[str, float] | None:
    bandwidth = device.memory_bandwidth_bytes_per_second
    flops = device.rate(precision)
    if bandwidth is None or flops is None or not (bandwidth.verified and flops.verified):
        return None
    return {"bandwidth": bandwidth.value, "flops": flops.value}
