"""Other devices in place of the present one: whether each would carry the load within the SLA, and what it would cost. Pure.

A statement on another device rests on one published regularity: a device that has r times the bandwidth and the arithmetic of another
(the lesser of the two ratios) serves at least BOUND x r times as much. It is a bound, not an estimate, and the point is only shown inside
its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from infermeter.advice.offers import cheapest
from infermeter.advice.waiting import Slowed, Slowing
from infermeter.catalogue import Catalogue, Device
from infermeter.config import DevicePrice
from infermeter.model import BlockedBy, Candidate, Component, SizingEvidence, SizingVerdict, Workload

BOUND: Final = 0.80
"""Measured throughput over the lesser ratio was at least this in 165 of 166 published pairs of devices (the margin was chosen on them).
Source: MLPerf Inference v5.1 closed division, and NeuSight's labels; tests/advice/transfer_pairs.csv."""

MEMORY_MARGIN: Final = 1.1
"""Over the peak of memory in use."""

MOST_THROTTLED_RATIO: Final = 0.1
"""Of the time; with clocks held down for longer the present device wasn't what its specification says."""

_ONE: Final = 1.0 + 1e-9
_MEASURED: Final = frozenset({"volta", "turing", "ampere", "ada", "hopper", "blackwell"})
"""The bound was measured between cards and modules of these architectures, and never on embedded ones."""

_OWN: Final[frozenset[Component]] = frozenset({"instance", "amortisation", "power", "cooling"})
"""What a rented candidate takes the place of; the rest of the hourly cost stays."""

_ORDER: Final[dict[SizingVerdict, int]] = {"fits": 0, "unsure": 1, "no": 2}


@dataclass(frozen=True, slots=True)
class SizingSettings:
    """`headroom` over the peak; prices older than `stale_after_seconds` don't count; `devices` to consider, by name (None: all)."""

    headroom: float = 1.3
    stale_after_seconds: float = 90 * 86_400.0
    minimum_saving_ratio: float = 0.1
    devices: tuple[str, ...] | None = None


class Ratios(NamedTuple):
    """Another device over the present one; `verified`: every fact behind them was."""

    bandwidth: float
    flops: float
    verified: bool

    @property
    def low(self) -> float:
        """The lower bound of its throughput. Of a larger device nothing more is claimed than of one that is as large."""
        return BOUND * min(1.0, self.bandwidth, self.flops)

    @property
    def point(self) -> float:
        """The middle of the range."""
        return math.sqrt(self.bandwidth * self.flops)

    @property
    def high(self) -> float:
        """The upper end of the range."""
        return max(self.bandwidth, self.flops)


class _Check(NamedTuple):
    """What speaks against a candidate: it fails there, or (`fails` false) nothing tells whether it does."""

    by: BlockedBy
    reason: str
    fails: bool


class _Present:
    """What is to be replaced, and what of it holds against every candidate: looked at once, as models are many, and candidates, too."""

    def __init__(self, evidence: SizingEvidence, catalogue: Catalogue, settings: SizingSettings) -> None:
        self.evidence, self.settings = evidence, settings
        self.device = present_device(evidence, catalogue)
        self.slowing = Slowing(evidence)
        self.workload = _workload(evidence)
        judged = [model for model in evidence.models if model.has_sla]
        self.is_judged = bool(judged)
        self.slowdowns_are_told = all(model.slowdown_at_sla_ratio is not None for model in judged)
        peak = evidence.peak_load_ratio
        self.peak_load_ratio = None if peak is None else max(peak, evidence.load_ratio or 0.0)
        """A busy hour can be less of a long history than its peak leaves out."""

    def against(self, device: Device, price: DevicePrice | None) -> _Trial:
        """A candidate at this price; None: it has none."""
        ratios = ratios_of(self.device, device, self.evidence.precision)
        cost = None
        if price is not None and self.evidence.cost_per_hour:
            cost = price.per_hour * self.evidence.gpus + staying_per_hour(self.evidence)
        return _Trial(
            self,
            device,
            price,
            ratios,
            load_ratio=None if ratios is None or self.peak_load_ratio is None else self.peak_load_ratio / ratios.low,
            slowed=None if ratios is None else self.slowing.by(ratios.low),
            cost_per_hour=cost,
            saving_per_hour=None if cost is None else sum(self.evidence.cost_per_hour.values()) - cost,
        )


@dataclass(frozen=True, slots=True)
class _Trial:
    """One device on trial.

    `load_ratio`: peak demand over the lower bound of capacity there. `slowed`: by how much an inference's queue and compute may grow there,
    and by how much within the SLA. `cost_per_hour`: rent of as many of them, and what of the present cost stays; it saves less than
    nothing where that is more than the present cost.
    """

    present: _Present
    device: Device
    price: DevicePrice | None
    ratios: Ratios | None
    load_ratio: float | None
    slowed: Slowed | None
    cost_per_hour: float | None
    saving_per_hour: float | None

    @property
    def evidence(self) -> SizingEvidence:
        """What it is tried by."""
        return self.present.evidence

    @property
    def settings(self) -> SizingSettings:
        """What is asked of it."""
        return self.present.settings

    def checks(self) -> Iterator[_Check]:
        """Everything that speaks against it."""
        rules: tuple[Callable[[], _Check | None], ...] = (
            self._whole,
            self._known,
            self._measured,
            self._throttled,
            self._memory,
            self._precision,
            self._load,
            self._latency,
            self._price,
        )
        return (check for rule in rules if (check := rule()) is not None)

    def _whole(self) -> _Check | None:
        evidence = self.evidence
        if evidence.is_partitioned or evidence.gpus < len(evidence.products) / _ONE:
            return _Check("evidence", "the server has a part of a device: what was measured of it says nothing of whole ones", fails=False)
        if len(evidence.products) > 1:
            return _Check("evidence", "several GPUs work together, and what they exchange isn't told", fails=False)
        return None

    def _known(self) -> _Check | None:
        if self.present.device is None:
            return _Check("unknown", "the present devices are of several kinds, or not in the catalogue", fails=False)
        if self.ratios is not None and not self.ratios.verified:
            return _Check("unknown", "bandwidth or arithmetic of one of the devices isn't verified", fails=False)
        return None

    def _measured(self) -> _Check | None:
        for device in (self.present.device, self.device):
            if device is not None and (device.architecture not in _MEASURED or device.is_embedded):
                return _Check("evidence", f"no published pair holds a device like {device.name}: the bound says nothing of it", fails=False)
        return None

    def _throttled(self) -> _Check | None:
        ratio = self.evidence.throttled_ratio
        if ratio is None or ratio <= MOST_THROTTLED_RATIO:
            return None
        return _Check("evidence", f"power or heat held the clocks down for {ratio:.0%} of the time", fails=False)

    def _memory(self) -> _Check | None:
        evidence, memory = self.evidence, self.device.memory_bytes
        if memory is None:
            return _Check("unknown", "its memory isn't in the catalogue", fails=False)
        if evidence.memory_is_reserved:
            return _Check("evidence", "the server reserves memory for its KV cache: what it needs at least isn't told", fails=False)
        if evidence.memory_peak_bytes is None:
            return _Check("evidence", "no reading of the memory in use", fails=False)
        needed = MEMORY_MARGIN * evidence.memory_peak_bytes
        if needed <= memory.value:
            return None if memory.verified else _Check("unknown", "its memory isn't verified", fails=False)
        return _Check("memory", f"needs {_gigabytes(needed)}, has {_gigabytes(memory.value)}", fails=memory.verified)

    def _precision(self) -> _Check | None:
        precision, known = self.evidence.precision, self.device.precisions
        if precision is None:
            return _Check("precision", "server.precision isn't set", fails=False)
        if known is None:
            return _Check("unknown", "what it computes natively isn't in the catalogue", fails=False)
        if precision not in known.value:
            return _Check("precision", f"doesn't compute natively in {precision}", fails=known.verified)
        if self.ratios is None:
            return _Check("unknown", f"bandwidth or {precision} arithmetic of one of the devices isn't in the catalogue", fails=False)
        return None if known.verified else _Check("unknown", "what it computes natively isn't verified", fails=False)

    def _load(self) -> _Check | None:
        if self.ratios is None:
            return None
        load = self.load_ratio
        if load is None:
            return _Check("evidence", "no peak load: the capacity isn't known, or the history is too short", fails=False)
        if load < 1 and load * self.settings.headroom <= _ONE:
            return None
        reason = f"peak load {load:.2f} there by the lower bound, at most {1 / self.settings.headroom:.2f} with headroom"
        return _Check("load", reason, fails=self.ratios.verified)

    def _latency(self) -> _Check | None:
        ratios, slowdown, load = self.ratios, self.slowed, self.load_ratio
        if ratios is None or not self.present.is_judged:
            return None
        if not self.present.slowdowns_are_told:
            return _Check("evidence", "too few inferences to say how much slower they may be within the SLA", fails=False)
        if slowdown is None or slowdown.allowed_ratio is None:
            if load is None or load >= 1:
                return None
            return _Check("evidence", "its models wait for each other, and not of each is told how long it takes", fails=False)
        needed, allowed = slowdown.needed_ratio, slowdown.allowed_ratio
        if needed <= allowed:
            return None
        return _Check("latency", f"up to {needed:.2f} times slower there, {allowed:.2f} times are within the SLA", fails=ratios.verified)

    def _price(self) -> _Check | None:
        evidence, stale_days = self.evidence, self.settings.stale_after_seconds / 86_400
        if not evidence.cost_per_hour or evidence.currency is None:
            return _Check("price", "what the server costs now isn't known", fails=False)
        if evidence.price_age_seconds is None or evidence.price_age_seconds > self.settings.stale_after_seconds:
            return _Check("price", f"the present price is older than {stale_days:g} days", fails=False)
        if self.price is None:
            return _Check("price", f"no price in {evidence.currency} of the last {stale_days:g} days", fails=False)
        saving = self.saving_per_hour
        if saving is not None and saving < self.settings.minimum_saving_ratio * sum(evidence.cost_per_hour.values()):
            return _Check("price", "saves less than advice.minimum_saving_ratio", fails=True)
        return None

    def candidate(self) -> Candidate:
        """The verdict."""
        checks, ratios, slowdown = list(self.checks()), self.ratios, self.slowed
        reasons: dict[BlockedBy, list[str]] = {}
        for check in checks:
            reasons.setdefault(check.by, []).append(check.reason)
        verdict: SizingVerdict = "no" if any(check.fails for check in checks) else "unsure" if checks else "fits"
        return Candidate(
            product=self.device.name,
            verdict=verdict,
            blocked_by=tuple(reasons),
            reasons={by: "; ".join(told) for by, told in reasons.items()},
            throughput_ratio_low=None if ratios is None else ratios.low,
            throughput_ratio_point=None if ratios is None else ratios.point,
            throughput_ratio_high=None if ratios is None else ratios.high,
            load_ratio=self.load_ratio,
            slowdown_ratio=None if slowdown is None else slowdown.needed_ratio,
            slowdown_allowed_ratio=None if slowdown is None else slowdown.allowed_ratio,
            cost_per_hour=self.cost_per_hour,
            saving_per_hour=self.saving_per_hour,
            provider=None if self.price is None else self.price.provider,
            facts_verified=ratios is not None
            and ratios.verified
            and all(fact is not None and fact.verified for fact in (self.device.memory_bytes, self.device.precisions)),
        )


def candidates(
    evidence: SizingEvidence, catalogue: Catalogue, prices: Sequence[DevicePrice], settings: SizingSettings, *, now_ns: int
) -> tuple[Candidate, ...]:
    """Every other device: those that fit first, and of equal verdicts what serves this workload best for its money."""
    present = _Present(evidence, catalogue, settings)
    wanted = [
        device
        for device in catalogue.devices
        if device is not present.device and (settings.devices is None or device.name in settings.devices)
    ]
    by_name = cheapest(catalogue, prices, evidence.currency, stale_after_seconds=settings.stale_after_seconds, now_ns=now_ns)
    tried = [present.against(device, by_name.get(device.name)) for device in wanted]
    ranked = sorted(
        ((trial.candidate(), -_merit(trial)) for trial in tried), key=lambda one: (_ORDER[one[0].verdict], one[1], one[0].product)
    )
    return tuple(candidate for candidate, _ in ranked)


def present_device(evidence: SizingEvidence, catalogue: Catalogue) -> Device | None:
    """What the server's GPUs are; None where they are of several kinds, or unknown."""
    known = {product: catalogue.device_of(product) for product in evidence.products}
    devices = list(known.values())
    return devices[0] if devices and all(device is devices[0] for device in devices) else None


def ratios_of(present: Device | None, device: Device, precision: str | None) -> Ratios | None:
    """`device` over the present one; None where a fact of either is missing, or the precision isn't known."""
    if present is None or precision is None:
        return None
    there, here = device.memory_bandwidth_bytes_per_second, present.memory_bandwidth_bytes_per_second
    rate_there, rate_here = device.rate(precision), present.rate(precision)
    if there is None or here is None or rate_there is None or rate_here is None:
        return None
    verified = all(fact.verified for fact in (there, here, rate_there, rate_here))
    return Ratios(there.value / here.value, rate_there.value / rate_here.value, verified)


def staying_per_hour(evidence: SizingEvidence) -> float:
    """What of the present cost stays, whatever device is rented in place of the present one."""
    return sum(cost for component, cost in evidence.cost_per_hour.items() if component not in _OWN)


def _merit(trial: _Trial) -> float:
    """How good a device is for the workload, for its money or its power; 0 where that can't be told.

    Source: small batches hang on bandwidth, full ones on arithmetic, embedded ones on performance per watt.
    """
    device, cost = trial.device, trial.cost_per_hour
    workload = trial.present.workload
    bandwidth = device.memory_bandwidth_bytes_per_second
    if workload == "edge":
        watts, ratios = device.power_limit_watts, trial.ratios
        return 0.0 if watts is None or ratios is None else ratios.point / watts.value
    rate = bandwidth if workload == "latency" else device.rate(trial.evidence.precision)
    return 0.0 if not cost or rate is None else rate.value / cost


def _workload(evidence: SizingEvidence) -> Workload:
    """Of the whole server: what anybody waits for comes first."""
    workloads = {model.workload for model in evidence.models}
    return "latency" if "latency" in workloads else "edge" if "edge" in workloads else "batch"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
