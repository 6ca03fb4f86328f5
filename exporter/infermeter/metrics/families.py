"""From a snapshot to families of points: what is absent, what is born 0, and which label says what. Pure; formats are elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import isfinite
from typing import Final, NamedTuple, TypeAlias, TypeVar

from infermeter.metrics import catalog
from infermeter.metrics.catalog import Family, Label
from infermeter.model import (
    Advice,
    CapacityFacts,
    ForwardFacts,
    GpuFacts,
    GpuIdentity,
    GpuSample,
    Histogram,
    IntakeFacts,
    LedgerSnapshot,
    ModelFacts,
    ModelWindow,
    Outcome,
    Snapshot,
)


class Point(NamedTuple):
    """One value, or one histogram, of a family. Labels that have no value are not there."""

    labels: Mapping[str, str]
    value: float | Histogram


Families: TypeAlias = Mapping[Family, Sequence[Point]]
"""Families in the order of the catalog, none without a point. Values are finite."""

CANDIDATES_TOLD: Final = 3
"""Of all that are priced; the report has the others."""

_LABELS: Final = {family: tuple(label.name for label in family.labels) for family in catalog.CATALOG}

_Key = TypeVar("_Key", bound=str | tuple[str, str])


class Before:
    """The points of one snapshot, kept for those of the next: from one to the next hardly any has other labels, and many the same value.

    They are as many as the last ones were; whoever makes families of one snapshot alone needs none.
    """

    def __init__(self) -> None:
        self.points: dict[tuple[Family, tuple[str | None, ...]], Point] = {}
        self.server: str | None = None


class _Points:
    """Points by family. `add` takes label values in the order of the family's labels; a value that isn't known adds nothing."""

    def __init__(self, server: str, before: Before) -> None:
        self._server = _text(server)
        self._before = before.points if before.server == self._server else {}
        self._now: dict[tuple[Family, tuple[str | None, ...]], Point] = {}
        before.server, before.points = self._server, self._now
        self._points: dict[Family, list[Point]] = {family: [] for family in catalog.CATALOG}

    def add(self, family: Family, value: float | Histogram | None, *labels: str | None) -> None:
        if value is None:
            return
        key = family, labels
        point = self._before.get(key)
        if point is None or point.value is not value:
            if not isfinite(value.sum_seconds if isinstance(value, Histogram) else value):
                return
            point = Point(self._named(family, labels) if point is None else point.labels, value)
        self._now[key] = point
        self._points[family].append(point)

    def families(self) -> Families:
        return {family: points for family, points in self._points.items() if points}

    def _named(self, family: Family, labels: Sequence[str | None]) -> Mapping[str, str]:
        named = {"server": self._server}
        for name, text in zip(_LABELS[family], labels, strict=True):
            if text is not None:
                named[name] = text if text.isascii() else _text(text)
        return named


def families(snapshot: Snapshot, before: Before | None = None) -> Families:
    """Every family of the catalog that the snapshot fills, apart from the three that describe an exposition (`series` and its kin).

    `before` are the points of the snapshot before this one, which save work and change nothing.
    """
    points = _Points(snapshot.server, before or Before())
    ledger = snapshot.ledger
    for model in ledger.models:
        _observed(points, model)
        _latency(points, model)
        _sla(points, model, ledger.currency)
        _use(points, model, ledger.currency)
        _capacity(points, model.model, model.capacity)
        for window in model.windows:
            _window(points, model.model, window, ledger.currency)
    _served(points, snapshot)
    if not ledger.thin:
        points.add(catalog.BUSY_SECONDS, ledger.busy_seconds)
    _server(points, ledger)
    for gpu in ledger.gpus:
        _gpu(points, gpu, hardware=snapshot.gpu_hardware)
    _intake(points, snapshot.intake)
    if snapshot.forward is not None:
        _forward(points, snapshot.forward)
    _about(points, snapshot)
    return points.families()


def _served(points: _Points, snapshot: Snapshot) -> None:
    totals: Mapping[str, Mapping[Outcome, float]] | None = None
    if snapshot.totals_from == "server":
        totals = snapshot.ledger.totals
    elif snapshot.totals_from == "observed":
        totals = {model.model: {"ok": model.observed_ok, "error": model.observed_error} for model in snapshot.ledger.models}
    if totals is None:
        return
    points.add(catalog.INFERENCES_SOURCE, 1, snapshot.totals_from)
    for model, counts in totals.items():
        for outcome, inferences in counts.items():
            points.add(catalog.INFERENCES, inferences, model, outcome)


def _observed(points: _Points, model: ModelFacts) -> None:
    points.add(catalog.INFERENCES_OBSERVED, model.observed_ok, model.model, "ok")
    points.add(catalog.INFERENCES_OBSERVED, model.observed_error, model.model, "error")
    points.add(catalog.INFERENCES_OBSERVED_WITHIN_SLA, model.within_sla, model.model)
    points.add(catalog.TOKENS, model.tokens_input, model.model, "input")
    points.add(catalog.TOKENS, model.tokens_output, model.model, "output")


def _latency(points: _Points, model: ModelFacts) -> None:
    points.add(catalog.INFERENCE_DURATION, model.duration, model.model)
    points.add(catalog.TIME_TO_FIRST_TOKEN, model.ttft, model.model)
    points.add(catalog.TIME_PER_OUTPUT_TOKEN, model.tpot, model.model)
    for stage, histogram in model.stages.items():
        points.add(catalog.STAGE_DURATION, histogram, model.model, stage)
    for (stage, part), seconds in sorted(model.part_seconds.items()):
        points.add(catalog.STAGE_PART_SECONDS, seconds, model.model, stage, part)


def _sla(points: _Points, model: ModelFacts, currency: str | None) -> None:
    if model.sla is not None:
        points.add(catalog.SLA_TARGET, model.sla.duration_seconds, model.model, "duration")
        points.add(catalog.SLA_TARGET, model.sla.ttft_seconds, model.model, "ttft")
        points.add(catalog.SLA_TARGET, model.sla.tpot_seconds, model.model, "tpot")
        points.add(catalog.SLA_QUANTILE, model.sla.quantile_ratio, model.model)
    for state, inferences in model.in_sla_state.items():
        points.add(catalog.INFERENCES_IN_SLA_STATE, inferences, model.model, state)
    for state, cost in model.cost_in_sla_state.items():
        points.add(catalog.COST_IN_SLA_STATE, cost, model.model, state, currency)


def _use(points: _Points, model: ModelFacts, currency: str | None) -> None:
    for use, joules in model.energy_joules.items():
        points.add(catalog.ENERGY, joules, model.model, use)
    for use, cost in model.cost.items():
        points.add(catalog.COST_BY_USE, cost, model.model, use, currency)


def _capacity(points: _Points, model: str, capacity: CapacityFacts | None) -> None:
    if capacity is None:
        return
    points.add(catalog.CAPACITY_AT_SLA, capacity.observed_per_second, model, "observed")
    points.add(catalog.CAPACITY_AT_SLA, capacity.modelled_per_second, model, "model")
    if capacity.observed_per_second is not None:
        points.add(catalog.CAPACITY_REACHED, int(capacity.reached), model)


def _window(points: _Points, model: str, window: ModelWindow, currency: str | None) -> None:
    label = window.window.label
    points.add(catalog.WINDOW_COST_PER_INFERENCE, window.cost_per_inference, model, label, currency)
    for basis, cost in window.cost_per_inference_at_sla.items():
        points.add(catalog.WINDOW_COST_PER_INFERENCE_AT_SLA, cost, model, label, basis, currency)
    for signal, seconds in window.latency_at_sla_quantile_seconds.items():
        points.add(catalog.WINDOW_LATENCY_AT_SLA_QUANTILE, seconds, model, signal, label)
    if window.sla_state is not None:
        for state in catalog.SLA_STATE.values:
            points.add(catalog.WINDOW_SLA_STATE, int(state == window.sla_state), model, label, state)


def _server(points: _Points, ledger: LedgerSnapshot) -> None:
    points.add(catalog.INFERENCES_LATE, sum(model.late for model in ledger.models))
    points.add(catalog.SETTLED_TIMESTAMP, _seconds(ledger.settled_ns))
    points.add(catalog.EMISSIONS, ledger.emissions_grams)
    points.add(catalog.SPAN_COVERAGE, ledger.coverage_ratio)
    if ledger.gauges is not None:
        points.add(catalog.SERVER_RUNNING, ledger.gauges.running)
        points.add(catalog.SERVER_WAITING, ledger.gauges.waiting)
        points.add(catalog.SERVER_BATCH, ledger.gauges.batch_size)
        points.add(catalog.SERVER_KV_CACHE_USED, ledger.gauges.kv_cache_used_ratio)
    points.add(catalog.PEAK_LOAD, ledger.peak_load_ratio)
    for window in ledger.windows:
        points.add(catalog.WINDOW_LOAD, window.load_ratio, window.window.label)
    for stage, quality in ledger.stage_quality.items():
        points.add(catalog.STAGE_QUALITY, 1, stage, quality)
    for component, cost in ledger.cost.items():
        points.add(catalog.COST, cost, component, ledger.currency)
    for component, cost in ledger.cost_per_hour.items():
        points.add(catalog.COST_PER_HOUR, cost, component, ledger.currency)
    for source, joules in ledger.host_energy_joules.items():
        points.add(catalog.HOST_ENERGY, joules, source)
    for (reason,), samples in _born(ledger.samples_rejected, catalog.REJECTION_REASON):
        points.add(catalog.GPU_SAMPLES_REJECTED, samples, reason)


def _gpu(points: _Points, gpu: GpuFacts, *, hardware: bool) -> None:
    device = gpu.identity
    index = None if device.index is None else str(device.index)
    points.add(catalog.GPU_INFO, 1, device.uuid, index, device.product, device.driver_version, device.source, device.energy)
    points.add(catalog.GPU_UP, int(gpu.up), device.uuid)
    points.add(catalog.GPU_LAST_SAMPLE, _seconds(gpu.last_sample_ns), device.uuid)
    points.add(catalog.GPU_SHARE, device.share_ratio if device.share_ratio < 1 else None, device.uuid)
    points.add(catalog.GPU_ENERGY, gpu.energy_joules, device.uuid)
    for reason, throttled_seconds in gpu.throttled_seconds.items():
        points.add(catalog.GPU_THROTTLED, throttled_seconds, device.uuid, reason)
    if hardware:
        points.add(catalog.GPU_PCIE, gpu.pcie_transmitted_bytes, device.uuid, "transmitted")
        points.add(catalog.GPU_PCIE, gpu.pcie_received_bytes, device.uuid, "received")
    points.add(catalog.GPU_BASELINE, gpu.baseline_watts, device.uuid)
    for state, seconds in gpu.state_seconds.items():
        points.add(catalog.GPU_STATE_SECONDS, seconds, device.uuid, state)
    points.add(catalog.GPU_MEMORY_TOTAL, (gpu.last and gpu.last.memory_total_bytes) or device.memory_total_bytes, device.uuid)
    if gpu.last is not None:
        _sample(points, gpu.last, device, hardware=hardware)


def _sample(points: _Points, last: GpuSample, device: GpuIdentity, *, hardware: bool) -> None:
    points.add(catalog.GPU_POWER, last.power_watts, device.uuid)
    points.add(catalog.GPU_UTILISATION, last.utilisation_ratio, device.uuid)
    points.add(catalog.GPU_MEMORY_USED, last.memory_used_bytes, device.uuid)
    points.add(catalog.GPU_SM_ACTIVE, last.sm_active_ratio, device.uuid)
    points.add(catalog.GPU_DRAM_ACTIVE, last.dram_active_ratio, device.uuid)
    points.add(catalog.GPU_TENSOR_ACTIVE, last.tensor_active_ratio, device.uuid)
    if hardware:
        points.add(catalog.GPU_SM_OCCUPANCY, last.sm_occupancy_ratio, device.uuid)
        points.add(catalog.GPU_POWER_LIMIT, last.power_limit_watts or device.power_limit_watts, device.uuid)
        points.add(catalog.GPU_TEMPERATURE, last.temperature_celsius, device.uuid)
        points.add(catalog.GPU_SM_CLOCK, last.sm_clock_hertz, device.uuid)


def _intake(points: _Points, intake: IntakeFacts) -> None:
    for (protocol,), spans in _born(intake.spans_received, catalog.PROTOCOL):
        points.add(catalog.SPANS_RECEIVED, spans, protocol)
    for (reason,), spans in _born(intake.spans_dropped, catalog.DROP_REASON):
        points.add(catalog.SPANS_DROPPED, spans, reason)
    for (reason,), spans in _born(intake.spans_unmapped, catalog.UNMAPPED_REASON):
        points.add(catalog.SPANS_UNMAPPED, spans, reason)
    for (protocol, reason), exports in _born(intake.exports_refused, catalog.PROTOCOL, catalog.REFUSAL_REASON):
        points.add(catalog.EXPORTS_REFUSED, exports, protocol, reason)
    points.add(catalog.LAST_SPAN, _seconds(intake.last_span_ns))
    points.add(catalog.TRACES_PENDING, intake.traces_pending)
    points.add(catalog.TRACES_PENDING_LIMIT, intake.traces_pending_limit)


def _forward(points: _Points, forward: ForwardFacts) -> None:
    points.add(catalog.SPANS_FORWARDED, forward.spans_forwarded)
    points.add(catalog.SPANS_FORWARD_REENCODED, forward.spans_reencoded)
    for (reason,), spans in _born(forward.spans_dropped, catalog.FORWARD_DROP_REASON):
        points.add(catalog.SPANS_FORWARD_DROPPED, spans, reason)
    points.add(catalog.FORWARD_QUEUE, forward.queue_bytes)
    points.add(catalog.FORWARD_QUEUE_LIMIT, forward.queue_limit_bytes)


def _about(points: _Points, snapshot: Snapshot) -> None:
    if snapshot.gpu_source is not None and snapshot.gpu_source_up is not None:
        points.add(catalog.GPU_SOURCE_UP, int(snapshot.gpu_source_up), snapshot.gpu_source)
    if snapshot.server_scrape_up is not None:
        points.add(catalog.SERVER_SCRAPE_UP, int(snapshot.server_scrape_up))
    points.add(catalog.STATE_FILES_REJECTED, snapshot.state_files_rejected)
    _advice(points, snapshot.advice, snapshot.ledger.currency)
    points.add(catalog.PRICE_TIMESTAMP, _seconds(snapshot.price_as_of_ns))
    if snapshot.config_reload_ns is not None:
        points.add(catalog.CONFIG_LAST_RELOAD_SUCCESSFUL, int(snapshot.config_reload_successful))
        points.add(catalog.CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP, _seconds(snapshot.config_reload_ns))
    points.add(catalog.BUILD_INFO, 1, snapshot.version, snapshot.revision)


def _advice(points: _Points, advice: Advice, currency: str | None) -> None:
    for finding in advice.findings:
        points.add(catalog.FINDING, 1, finding.model, finding.code, finding.level)
        points.add(catalog.FINDING_SAVING_PER_HOUR, finding.saving_per_hour, finding.model, finding.code, currency)
    if advice.bound is not None:
        for resource in catalog.RESOURCE.values:
            points.add(catalog.RESOURCE_BOUND, int(resource == advice.bound), resource)
    priced = [] if advice.sizing is None else [one for one in advice.sizing.candidates if one.cost_per_hour is not None]
    for candidate in priced[:CANDIDATES_TOLD]:
        points.add(catalog.CANDIDATE_COST_PER_HOUR, candidate.cost_per_hour, candidate.product, candidate.verdict, currency)


def _born(counts: Mapping[_Key, int], *labels: Label) -> Iterable[tuple[tuple[str, ...], int]]:
    """Counts by label values, with 0 for what of the closed sets hasn't been counted yet."""
    zeros: dict[tuple[str, ...], int] = dict.fromkeys(product(*(label.values for label in labels)), 0)
    return (zeros | {(key if isinstance(key, tuple) else (key,)): count for key, count in counts.items()}).items()


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _text(text: str) -> str:
    """A label value that UTF-8 can hold: a lone surrogate becomes its escape sequence."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
