"""Published pairs of devices that served the same model, and what the advice makes of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from infermeter.advice.sizing import Ratios, SizingSettings, candidates
from infermeter.catalogue import Catalogue, Device, Fact, shipped_catalogue
from infermeter.config import DevicePrice
from infermeter.model import Candidate, ModelEvidence, SizingEvidence

FILE: Final = Path(__file__).parents[1] / "advice" / "transfer_pairs.csv"
NOW: Final = datetime(2026, 8, 1, tzinfo=UTC)
NOW_NS: Final = round(NOW.timestamp()) * 1_000_000_000

NAMES: Final = {
    "NVIDIA B200-SXM-180GB": "b200-sxm",
    "NVIDIA GeForce RTX 4090": "rtx-4090",
    "NVIDIA H100-NVL-94GB": "h100-nvl-94gb",
    "NVIDIA H100-SXM-80GB": "h100-sxm5-80gb",
    "NVIDIA H200-NVL-141GB": "h200-nvl-141gb",
    "NVIDIA H200-SXM-141GB": "h200-sxm-141gb",
    "NVIDIA L4-PCIe-24GB": "l4",
    "NVIDIA L40S": "l40s",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "rtx-pro-6000-server",
    "NVIDIA_A100-PCIE-40GB": "a100-pcie-40gb",
    "NVIDIA_H100_80GB_HBM3": "h100-sxm5-80gb",
    "NVIDIA_L4": "l4",
    "Tesla_T4": "t4",
    "Tesla_V100-PCIE-32GB": "v100-pcie-32gb",
}
PRECISIONS: Final = {"mlperf-inference-v5.1": "fp8", "neusight-asplos25-fp32": "fp32"}
"""By the sources' ratios of arithmetic, which are those of fp8 wherever both devices have it."""

HERE, THERE = "here", "there"


@dataclass(frozen=True, slots=True)
class Pair:
    """One row; `actual` is the target's measured throughput over the other's."""

    source: str
    workload: str
    from_gpu: str
    to_gpu: str
    bandwidth: float
    flops: float
    actual: float

    @property
    def as_published(self) -> Catalogue:
        """Two devices whose ratios are the row's."""
        return Catalogue([_device(HERE, 1.0, 1.0), _device(THERE, self.bandwidth, self.flops)])

    @property
    def precision(self) -> str:
        return PRECISIONS[self.source]

    def told(self, load: float, settings: SizingSettings, *, models: Sequence[ModelEvidence] = ()) -> Candidate:
        """What is said of the target, by the row's own ratios, of a server whose load is so much of what was measured."""
        (told,) = candidates(evidence(HERE, "fp16", load, models), self.as_published, [_price(THERE)], settings, now_ns=NOW_NS)
        return told

    def told_by_catalogue(self, load: float, settings: SizingSettings) -> Candidate:
        """The same by the catalogue's facts."""
        catalogue = shipped_catalogue()
        name = NAMES[self.to_gpu]
        products = catalogue.named(NAMES[self.from_gpu])
        assert products is not None
        (told,) = candidates(
            evidence(products.match[0], self.precision, load), catalogue, [_price(name)], replace(settings, devices=(name,)), now_ns=NOW_NS
        )
        return told


def pairs() -> list[Pair]:
    with FILE.open() as file:
        return [
            Pair(
                row["source"],
                row["workload"],
                row["from_gpu"],
                row["to_gpu"],
                float(row["bandwidth_ratio"]),
                float(row["flops_ratio"]),
                float(row["actual_throughput_ratio"]),
            )
            for row in csv.DictReader(file)
        ]


def over_least(pair: Pair) -> float:
    """Measured throughput over the lesser of the ratios."""
    return pair.actual / min(1.0, pair.bandwidth, pair.flops)


def ratios(pair: Pair) -> Ratios:
    return Ratios(pair.bandwidth, pair.flops, verified=True)


def evidence(product: str, precision: str, load: float, models: Sequence[ModelEvidence] = ()) -> SizingEvidence:
    """Nothing but the load speaks against a candidate."""
    return SizingEvidence(
        products=(product,),
        gpus=1.0,
        is_partitioned=False,
        cost_per_hour={"instance": 1000.0},
        currency="USD",
        price_age_seconds=0.0,
        peak_load_ratio=load,
        busy_ratio=0.5,
        memory_peak_bytes=10**9,
        memory_is_reserved=False,
        precision=precision,
        throttled_ratio=0.0,
        window_seconds=3600.0,
        models=tuple(models),
    )


def _device(name: str, bandwidth: float, flops: float) -> Device:
    def fact(value: float) -> Fact[float]:
        return Fact(value, "published pair", verified=True)

    return Device(
        name=name,
        match=(name,),
        architecture="hopper",
        form_factor="sxm",
        memory_bytes=fact(80e9),
        memory_bandwidth_bytes_per_second=fact(bandwidth * 1e12),
        dense_flops={"fp16": fact(flops * 1e14)},
        power_limit_watts=fact(700.0),
        precisions=Fact(("fp16",), "published pair", verified=True),
        mig_profiles=None,
        source="published pair",
    )


def _price(name: str) -> DevicePrice:
    return DevicePrice(name, "test", 1.0, "USD", date(2026, 7, 31), "test")
