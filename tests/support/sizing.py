"""Evidence, devices and prices for tests of right-sizing: one server of which everything is known, and what is to be different about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final

from infermeter.advice.sizing import SizingSettings, candidates
from infermeter.catalogue import Catalogue, Device, Fact, MigProfile
from infermeter.config import DevicePrice
from infermeter.model import Candidate, ModelEvidence, SizingEvidence

TODAY: Final = date(2026, 8, 1)
NOW_NS: Final = round(datetime(2026, 8, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
HERE, THERE = "here", "there"

MODEL: Final = ModelEvidence("m", "latency", has_sla=True, slowdown_at_sla_ratio=20.0, inferences=600)
EVIDENCE: Final = SizingEvidence(
    products=("HERE",),
    gpus=1.0,
    is_partitioned=False,
    cost_per_hour={"instance": 3.5, "licence": 0.5},
    currency="USD",
    price_age_seconds=86_400.0,
    peak_load_ratio=0.05,
    busy_ratio=0.04,
    memory_peak_bytes=10_000_000_000,
    memory_is_reserved=False,
    precision="fp16",
    throttled_ratio=0.0,
    window_seconds=3600.0,
    models=(MODEL,),
)
"""Half a device would do, and everything is known."""


def fact(value: Any, *, verified: bool = True) -> Fact[Any]:
    return Fact(value, "test", verified)


def device(name: str, *, bandwidth: float = 1.0, flops: float = 1.0, **different: Any) -> Device:
    """Bandwidth in TB/s, arithmetic in 100 TFLOPS."""
    known = Device(
        name=name,
        match=(name.upper(),),
        architecture="ampere",
        form_factor="pcie",
        memory_bytes=fact(40e9),
        memory_bandwidth_bytes_per_second=fact(bandwidth * 1e12),
        dense_flops={"fp16": fact(flops * 1e14)},
        power_limit_watts=fact(200.0),
        precisions=fact(("fp32", "fp16")),
        mig_profiles=None,
        source="test",
    )
    return replace(known, **different)


SLICES: Final = (
    MigProfile("1g.10gb", 10e9, 0.125, 0.25),
    MigProfile("2g.20gb", 20e9, 0.25, 0.5),
    MigProfile("3g.20gb", 20e9, 0.375, 0.5),
    MigProfile("7g.40gb", 40e9, 1, 1),
)
PRESENT: Final = device(HERE, bandwidth=2.0, flops=2.0)
TARGET: Final = device(THERE)


def price(of: str = THERE, per_hour: float = 1.0, **different: Any) -> DevicePrice:
    return replace(DevicePrice(of, "ACME", per_hour, "USD", TODAY, "test"), **different)


def tried(
    evidence: SizingEvidence = EVIDENCE,
    *,
    present: Device | None = PRESENT,
    target: Device = TARGET,
    prices: Sequence[DevicePrice] | None = None,
    **settings: Any,
) -> Candidate:
    """The one candidate there is."""
    catalogue = Catalogue([target] if present is None else [present, target])
    offered = [price()] if prices is None else prices
    (told,) = candidates(evidence, catalogue, offered, SizingSettings(devices=(target.name,), **settings), now_ns=NOW_NS)
    return told
