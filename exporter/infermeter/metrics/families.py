"""From a snapshot to families of points: what is absent, what is born 0, and which label says what. Pure; formats are elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from math import isfinite
from typing import Final, NamedTuple, TypeAlias, TypeVar

from infermeter.metrics import catalog
from infermeter.metrics.catalog import Family, Label
from infermeter.metrics.rows import Name, Row, Told, model_row
from infermeter.metrics.steps import at_once
from infermeter.model import (
    Advice,
    ForwardFacts,
    GpuFacts,
    GpuIdentity,
    GpuSample,
    Histogram,
    IntakeFacts,
    LedgerSnapshot,
    Outcome,
    Snapshot,
)


class Point(NamedTuple):
    """One value, or one histogram, of a family. Labels that have no value are not there."""

    labels: Mapping[str, str]
    value: float | Histogram


Families: TypeAlias = Mapping[Family, Sequence[Point]]
"""Families in the order of the catalog, none without a point. Values are finite."""

ROWS_A_STEP: Final = 20
"""Rows whose points are named in one go: some two milliseconds."""

CANDIDATES_TOLD: Final = 3
"""Of all that are priced; the report has the others."""

_Thing = TypeVar("_Thing")
_Key = TypeVar("_Key", bound=str | tuple[str, str])


def families(snapshot: Snapshot) -> Families:
    """Every family of the catalog that the snapshot fills, apart from the three that describe an exposition (`series` and its kin)."""
    return at_once(families_in_steps(snapshot))


def families_in_steps(snapshot: Snapshot) -> Generator[bytes, None, Families]:
    """The same; it stops with nothing in its hands after each ROWS_A_STEP rows."""
    found: dict[Family, list[Point]] = {family: [] for family in catalog.CATALOG}
    for number, row in enumerate(rows(snapshot), 1):
        values: tuple[float | Histogram | None, ...] = (*row.numbers, *row.histograms)
        for (family, labels), value in zip(row.names(), values, strict=True):
            if value is not None and isfinite(value.sum_seconds if isinstance(value, Histogram) else value):
                found[family].append(Point(named(family, snapshot.server, labels), value))
        if number % ROWS_A_STEP == 0:
            yield b""
    return {family: points for family, points in found.items() if points}


def rows(snapshot: Snapshot) -> list[Row[Name]]:
    """The same row by row: within a family the points are in the order of the rows."""
    return [
        *(model_row(model, snapshot.ledger.currency) for model in snapshot.ledger.models),
        _row("served", _served, snapshot),
        _row("server", _server, snapshot.ledger),
        *(_row(gpu.identity.uuid, partial(_gpu, hardware=snapshot.gpu_hardware), gpu) for gpu in snapshot.ledger.gpus),
        _row("intake", _intake, snapshot.intake),
        *([] if snapshot.forward is None else [_row("forward", _forward, snapshot.forward)]),
        _row("about", _about, snapshot),
        _row("advice", partial(_advice, currency=snapshot.ledger.currency), snapshot.advice),
    ]


def _row(key: str, tell: Callable[[Told, _Thing], None], thing: _Thing) -> Row[Name]:
    told = Told(key)
    tell(told, thing)
    return told.row()


def named(family: Family, server: str, labels: Sequence[str | None]) -> Mapping[str, str]:
    """A point's labels by name, given their values in the family's order; those without a value aren't there."""
    every = zip((catalog.SERVER, *family.labels), (server, *labels), strict=True)
    return {label.name: _text(text) for label, text in every if text is not None}


def _served(told: Told, snapshot: Snapshot) -> None:
    totals: Mapping[str, Mapping[Outcome, float]] | None = None
    if snapshot.totals_from == "server":
        totals = snapshot.ledger.totals
    elif snapshot.totals_from == "observed":
        totals = {model.model: {"ok": model.observed_ok, "error": model.observed_error} for model in snapshot.ledger.models}
    if totals is None:
        return
    told.add(catalog.INFERENCES_SOURCE, 1, snapshot.totals_from)
    for model, counts in totals.items():
        for outcome, inferences in counts.items():
            told.add(catalog.INFERENCES, inferences, model, outcome)


def _server(told: Told, ledger: LedgerSnapshot) -> None:
    if not ledger.thin:
        told.add(catalog.BUSY_SECONDS, ledger.busy_seconds)
    told.add(catalog.INFERENCES_LATE, sum(model.late for model in ledger.models))
    told.add(catalog.SETTLED_TIMESTAMP, _seconds(ledger.settled_ns))
    told.add(catalog.EMISSIONS, ledger.emissions_grams)
    told.add(catalog.SPAN_COVERAGE, ledger.coverage_ratio)
    if ledger.gauges is not None:
        told.add(catalog.SERVER_RUNNING, ledger.gauges.running)
        told.add(catalog.SERVER_WAITING, ledger.gauges.waiting)
        told.add(catalog.SERVER_BATCH, ledger.gauges.batch_size)
        told.add(catalog.SERVER_KV_CACHE_USED, ledger.gauges.kv_cache_used_ratio)
    told.add(catalog.PEAK_LOAD, ledger.peak_load_ratio)
    for window in ledger.windows:
        told.add(catalog.WINDOW_LOAD, window.load_ratio, window.window.label)
    for stage, quality in ledger.stage_quality.items():
        told.add(catalog.STAGE_QUALITY, 1, stage, quality)
    for component, cost in ledger.cost.items():
        told.add(catalog.COST, cost, component, ledger.currency)
    for component, cost in ledger.cost_per_hour.items():
        told.add(catalog.COST_PER_HOUR, cost, component, ledger.currency)
    for source, joules in ledger.host_energy_joules.items():
        told.add(catalog.HOST_ENERGY, joules, source)
    for (reason,), samples in _born(ledger.samples_rejected, catalog.REJECTION_REASON):
        told.add(catalog.GPU_SAMPLES_REJECTED, samples, reason)


def _gpu(told: Told, gpu: GpuFacts, *, hardware: bool) -> None:
    device = gpu.identity
    index = None if device.index is None else str(device.index)
    told.add(catalog.GPU_INFO, 1, device.uuid, index, device.product, device.driver_version, device.source, device.energy)
    told.add(catalog.GPU_UP, int(gpu.up), device.uuid)
    told.add(catalog.GPU_LAST_SAMPLE, _seconds(gpu.last_sample_ns), device.uuid)
    told.add(catalog.GPU_SHARE, device.share_ratio if device.share_ratio < 1 else None, device.uuid)
    told.add(catalog.GPU_ENERGY, gpu.energy_joules, device.uuid)
    for reason, throttled_seconds in gpu.throttled_seconds.items():
        told.add(catalog.GPU_THROTTLED, throttled_seconds, device.uuid, reason)
    if hardware:
        told.add(catalog.GPU_PCIE, gpu.pcie_transmitted_bytes, device.uuid, "transmitted")
        told.add(catalog.GPU_PCIE, gpu.pcie_received_bytes, device.uuid, "received")
    told.add(catalog.GPU_BASELINE, gpu.baseline_watts, device.uuid)
    for state, seconds in gpu.state_seconds.items():
        told.add(catalog.GPU_STATE_SECONDS, seconds, device.uuid, state)
    told.add(catalog.GPU_MEMORY_TOTAL, (gpu.last and gpu.last.memory_total_bytes) or device.memory_total_bytes, device.uuid)
    if gpu.last is not None:
        _sample(told, gpu.last, device, hardware=hardware)


def _sample(told: Told, last: GpuSample, device: GpuIdentity, *, hardware: bool) -> None:
    told.add(catalog.GPU_POWER, last.power_watts, device.uuid)
    told.add(catalog.GPU_UTILISATION, last.utilisation_ratio, device.uuid)
    told.add(catalog.GPU_MEMORY_USED, last.memory_used_bytes, device.uuid)
    told.add(catalog.GPU_SM_ACTIVE, last.sm_active_ratio, device.uuid)
    told.add(catalog.GPU_DRAM_ACTIVE, last.dram_active_ratio, device.uuid)
    told.add(catalog.GPU_TENSOR_ACTIVE, last.tensor_active_ratio, device.uuid)
    if hardware:
        told.add(catalog.GPU_SM_OCCUPANCY, last.sm_occupancy_ratio, device.uuid)
        told.add(catalog.GPU_POWER_LIMIT, last.power_limit_watts or device.power_limit_watts, device.uuid)
        told.add(catalog.GPU_TEMPERATURE, last.temperature_celsius, device.uuid)
        told.add(catalog.GPU_SM_CLOCK, last.sm_clock_hertz, device.uuid)


def _intake(told: Told, intake: IntakeFacts) -> None:
    for (protocol,), spans in _born(intake.spans_received, catalog.PROTOCOL):
        told.add(catalog.SPANS_RECEIVED, spans, protocol)
    for (reason,), spans in _born(intake.spans_dropped, catalog.DROP_REASON):
        told.add(catalog.SPANS_DROPPED, spans, reason)
    for (reason,), spans in _born(intake.spans_unmapped, catalog.UNMAPPED_REASON):
        told.add(catalog.SPANS_UNMAPPED, spans, reason)
    for (protocol, reason), exports in _born(intake.exports_refused, catalog.PROTOCOL, catalog.REFUSAL_REASON):
        told.add(catalog.EXPORTS_REFUSED, exports, protocol, reason)
    told.add(catalog.CONNECTIONS_DISPLACED, intake.connections_displaced)
    told.add(catalog.LAST_SPAN, _seconds(intake.last_span_ns))
    told.add(catalog.TRACES_PENDING, intake.traces_pending)
    told.add(catalog.TRACES_PENDING_LIMIT, intake.traces_pending_limit)


def _forward(told: Told, forward: ForwardFacts) -> None:
    told.add(catalog.SPANS_FORWARDED, forward.spans_forwarded)
    told.add(catalog.SPANS_FORWARD_REENCODED, forward.spans_reencoded)
    for (reason,), spans in _born(forward.spans_dropped, catalog.FORWARD_DROP_REASON):
        told.add(catalog.SPANS_FORWARD_DROPPED, spans, reason)
    told.add(catalog.FORWARD_QUEUE, forward.queue_bytes)
    told.add(catalog.FORWARD_QUEUE_LIMIT, forward.queue_limit_bytes)


def _about(told: Told, snapshot: Snapshot) -> None:
    if snapshot.gpu_source is not None and snapshot.gpu_source_up is not None:
        told.add(catalog.GPU_SOURCE_UP, int(snapshot.gpu_source_up), snapshot.gpu_source)
    if snapshot.server_scrape_up is not None:
        told.add(catalog.SERVER_SCRAPE_UP, int(snapshot.server_scrape_up))
    told.add(catalog.STATE_FILES_REJECTED, snapshot.state_files_rejected)
    told.add(catalog.PRICE_TIMESTAMP, _seconds(snapshot.price_as_of_ns))
    if snapshot.config_reload_ns is not None:
        told.add(catalog.CONFIG_LAST_RELOAD_SUCCESSFUL, int(snapshot.config_reload_successful))
        told.add(catalog.CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP, _seconds(snapshot.config_reload_ns))
    told.add(catalog.BUILD_INFO, 1, snapshot.version, snapshot.revision)


def _advice(told: Told, advice: Advice, *, currency: str | None) -> None:
    for finding in advice.findings:
        told.add(catalog.FINDING, 1, finding.model, finding.code, finding.level)
        told.add(catalog.FINDING_SAVING_PER_HOUR, finding.saving_per_hour, finding.model, finding.code, currency)
    if advice.bound is not None:
        for resource in catalog.RESOURCE.values:
            told.add(catalog.RESOURCE_BOUND, int(resource == advice.bound), resource)
    priced = [] if advice.sizing is None else [one for one in advice.sizing.candidates if one.cost_per_hour is not None]
    for candidate in priced[:CANDIDATES_TOLD]:
        told.add(catalog.CANDIDATE_COST_PER_HOUR, candidate.cost_per_hour, candidate.product, candidate.verdict, currency)


def _born(counts: Mapping[_Key, int], *labels: Label) -> Iterable[tuple[tuple[str, ...], int]]:
    """Counts by label values, with 0 for what of the closed sets hasn't been counted yet."""
    zeros: dict[tuple[str, ...], int] = dict.fromkeys(product(*(label.values for label in labels)), 0)
    return (zeros | {(key if isinstance(key, tuple) else (key,)): count for key, count in counts.items()}).items()


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _text(text: str) -> str:
    """A label value that UTF-8 can hold: a lone surrogate becomes its escape sequence."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
