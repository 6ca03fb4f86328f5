"""Premises made by hand, for the rules one by one: a server of which everything is told and nothing is wrong, and what is changed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from infermeter.advice.premises import Premises, premises_of
from infermeter.catalogue import shipped_catalogue
from infermeter.config import Config
from infermeter.model import (
    CapacityFacts,
    Finding,
    GpuFacts,
    GpuIdentity,
    GpuSample,
    HardwareWindow,
    LedgerSnapshot,
    Misses,
    ModelFacts,
    ModelWindow,
    ServerWindow,
    SlaTarget,
    Stage,
    StepTime,
)
from support.snapshots import END_NS, HOUR, llm, rich_snapshot

TARGET = SlaTarget(0.99, duration_seconds=2.0)
H100 = "NVIDIA H100 80GB HBM3"
S = 1_000_000_000


def window(
    stages: Mapping[Stage, float], *, late: Mapping[Stage, float] | None = None, errors: int = 0, observed: int = 1000, **keys: Any
) -> ModelWindow:
    """A thousand inferences with these seconds in each stage; `late`: the SLA is missed, and so the late ones spent their time."""
    misses = None if late is None else Misses(observed, 50 + errors, errors, late)
    told: dict[str, Any] = {
        "window": HOUR,
        "inferences_ok": observed - errors,
        "inferences_observed": observed,
        "inferences_within_sla": None,
        "cost": None,
        "joules": None,
        "tokens": None,
        "stage_seconds": stages,
        "cost_per_inference": None,
        "cost_per_inference_at_sla": {},
        "latency_at_sla_quantile_seconds": {},
        "sla_state": "met" if late is None else "missed",
        "signal_inferences": {"duration": observed},
        "misses": misses,
    }
    return ModelWindow(**(told | keys))


def model(of: ModelWindow, *, step: StepTime | None = None, **keys: Any) -> ModelFacts:
    return replace(llm("m"), windows=(of,), sla=keys.pop("sla", TARGET), capacity=CapacityFacts(step_time=step), part_seconds={}, **keys)


def gpu(index: int = 0, **keys: Any) -> GpuFacts:
    """A GPU that works."""
    sample = GpuSample(f"GPU-{index}", END_NS, power_watts=100.0)
    told: dict[str, Any] = {
        "identity": GpuIdentity(f"GPU-{index}", product=H100),
        "up": True,
        "last": sample,
        "last_sample_ns": END_NS,
        "energy_joules": 1.0,
        "state_seconds": {},
        "baseline_watts": None,
    }
    return GpuFacts(**(told | keys))


def ledger(
    *models: ModelFacts,
    hardware: HardwareWindow | None = None,
    server: Mapping[str, Any] | None = None,
    gpus: Sequence[GpuFacts] = (),
    **keys: Any,
) -> LedgerSnapshot:
    """Half an hour busy, half idle; `server` changes the window of the server."""
    base: dict[str, Any] = {
        "window": HOUR,
        "accrued_seconds": 3600.0,
        "busy_seconds": 1800.0,
        "joules": None,
        "cost": None,
        "inferences_ok": 1000,
        "inferences_within_sla": None,
        "waterfall_cost": {},
        "idle_seconds": 1800.0,
        "hardware": hardware or HardwareWindow(utilisation_ratio=0.5),
    }
    told: dict[str, Any] = {
        "models": models,
        "windows": (ServerWindow(**(base | dict(server or {}))),),
        "gpus": gpus or (gpu(),),
        "settled_ns": END_NS,
        "gauges": None,
        "peak_load_ratio": None,
        "stage_quality": {"queue": "measured", "compute": "measured"},
    }
    return replace(rich_snapshot().ledger, **(told | keys))


def premises(snapshot: LedgerSnapshot, config: Config | None = None) -> Premises:
    return premises_of(config or Config(), snapshot, shipped_catalogue(), price_as_of_ns=None)


def one(found: Sequence[Finding]) -> Finding:
    (finding,) = found
    return finding
