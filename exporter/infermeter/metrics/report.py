"""The report: one JSON object with every family, the derived readings, and what a reader needs to judge them. Pure.

`replay --format json` and `/api/v1/report` give it, `compare` reads it. Its schema is docs/report.schema.json. No attribute value of
a span and no trace id is ever in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import accumulate, islice
from math import fsum
from typing import Any, Final

import orjson

from infermeter.ledger.miss_bounds import inferences_until_met, miss_ratio_bounds
from infermeter.metrics.budget import series_of, thrifty
from infermeter.metrics.derived import derived
from infermeter.metrics.families import Families, Point, families, families_in_steps
from infermeter.model import Finding, GpuFacts, Histogram, Judged, ModelFacts, ModelWindow, ServerWindow, SlaTarget, Slot, Snapshot
from infermeter.report_json import SCHEMA, plain

POINTS_A_PIECE: Final = 200
"""Points that are made into JSON in one go: some two milliseconds, if they are histograms."""

SLOTS_A_PIECE: Final = 500
"""Slots that are made into JSON in one go: some three milliseconds."""


def report(snapshot: Snapshot, *, slots: bool = True) -> dict[str, Any]:
    """The report, ready for JSON: only finite numbers, texts, None, lists and objects, in a stable order.

    An absent family is an absent key. `slots=False` leaves out the closed slots, which make up most of a long report.
    """
    told = families(snapshot)
    about = _about(snapshot, told, slots=slots)
    return {name: [_entry(point) for point in points] for name, points in _readings(snapshot, told).items()} | {"report": about}


def report_pieces(snapshot: Snapshot, *, slots: bool = True) -> Iterator[bytes]:
    """The report as JSON in one line, in pieces, some of them empty, each made when it is asked for: a few milliseconds at most.

    They are readings, POINTS_A_PIECE at a time, what the report says of itself, then SLOTS_A_PIECE slots at a time. A slot that the ledger
    forgets in between, the oldest, may be left out.
    """
    told = yield from families_in_steps(snapshot)
    yield from _reading_pieces(_readings(snapshot, told))
    about = orjson.dumps({"report": _about(snapshot, told, slots=False)})[1:]
    yield about.removesuffix(b"}}") + b',"slots":[' if slots else about
    if slots:
        yield from _slot_pieces(snapshot.ledger.slots)


def _readings(snapshot: Snapshot, told: Families) -> dict[str, Sequence[Point]]:
    return {family.name: points for family, points in told.items()} | derived(snapshot)


def _reading_pieces(readings: Mapping[str, Sequence[Point]]) -> Iterator[bytes]:
    """The beginning of an object, and in it each reading with a comma behind."""
    text, told = b"{", 0
    for name, points in readings.items():
        text += b'"%b":[' % name.encode()
        for first in range(0, len(points), POINTS_A_PIECE):
            entries = [_entry(point) for point in points[first : first + POINTS_A_PIECE]]
            text += (b"," if first else b"") + orjson.dumps(entries)[1:-1]
            told += len(entries)
            if told >= POINTS_A_PIECE:
                yield text
                text, told = b"", 0
        text += b"],"
    yield text


def _slot_pieces(of: Iterable[Slot]) -> Iterator[bytes]:
    """Slots with commas between them, and the end of their list and of the two objects that it is in."""
    slots, between = iter(of), b""
    while some := [_slot(slot) for slot in islice(slots, SLOTS_A_PIECE)]:
        yield between + orjson.dumps(some)[1:-1]
        between = b","
    yield b"]}}"


def findings_report(findings: Sequence[Finding]) -> dict[str, Any]:
    """What `/api/v1/findings` answers."""
    return {"schema": SCHEMA, "findings": [_finding(finding) for finding in findings]}


def _entry(point: Point) -> dict[str, Any]:
    if not isinstance(point.value, Histogram):
        return {"labels": dict(point.labels), "value": point.value}
    histogram = point.value
    cumulative = list(accumulate(histogram.counts))
    buckets = [[edge, count] for edge, count in zip((*histogram.edges_seconds, None), cumulative, strict=True)]
    return {"labels": dict(point.labels), "count": cumulative[-1], "sum": histogram.sum_seconds, "buckets": buckets}


def _about(snapshot: Snapshot, told: Families, *, slots: bool) -> dict[str, Any]:
    ledger = snapshot.ledger
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "version": snapshot.version,
        "kind": snapshot.kind,
        "server": snapshot.server,
        "server_kind": snapshot.server_kind,
        "start_unix_seconds": ledger.start_ns / 1e9,
        "end_unix_seconds": ledger.time_ns / 1e9,
        "settled_unix_seconds": None if ledger.settled_ns is None else ledger.settled_ns / 1e9,
        "sampled": ledger.thin,
        "windows": [_window(window, ledger.models) for window in ledger.windows],
        "sla": [{"model": model.model} | asdict(model.sla) for model in ledger.models if model.sla is not None],
        "capacity": [{"model": model.model} | asdict(model.capacity) for model in ledger.models if model.capacity is not None],
        "cost": {
            "currency": ledger.currency,
            "as_of": _date(snapshot.price_as_of_ns),
            "source": snapshot.price_source,
            "per_hour": fsum(ledger.cost_per_hour.values()) if ledger.cost_per_hour else None,
        },
        "gpus": [_gpu(gpu) for gpu in ledger.gpus],
        "findings": [_finding(finding) for finding in snapshot.advice.findings],
        "workloads": dict(snapshot.advice.workloads),
        "sizing": None if snapshot.advice.sizing is None else plain(asdict(snapshot.advice.sizing)),
        "losses": _losses(snapshot),
        "series": {"told": sum(map(series_of, thrifty(told).values())), "limit": snapshot.series_limit},
    }
    if slots:
        about["slots"] = [_slot(slot) for slot in ledger.slots]
    return about


def _window(window: ServerWindow, models: Sequence[ModelFacts]) -> dict[str, Any]:
    return {
        "window": window.window.label,
        "seconds": window.window.seconds,
        "accrued_seconds": window.accrued_seconds,
        "busy_seconds": window.busy_seconds,
        "idle_seconds": window.idle_seconds,
        "unpriced_seconds": window.unpriced_seconds,
        "cost": window.cost,
        "joules": window.joules,
        "inferences_ok": window.inferences_ok,
        "inferences_within_sla": window.inferences_within_sla,
        "models": [_model_window(model, own) for model in models for own in model.windows if own.window == window.window],
    }


def _model_window(model: ModelFacts, window: ModelWindow) -> dict[str, Any]:
    """The sums that the window's readings of one model are made from, and how many inferences are behind each quantile."""
    return {
        "model": model.model,
        "cost": window.cost,
        "joules": window.joules,
        "inferences_ok": window.inferences_ok,
        "inferences_observed": window.inferences_observed,
        "inferences_within_sla": window.inferences_within_sla,
        "signal_inferences": dict(window.signal_inferences),
        "tokens_input": window.tokens_input,
        "tokens_output": window.tokens_output,
        "prefill_seconds": window.prefill_seconds,
        "decode_seconds": window.decode_seconds,
        "stage_seconds": dict(window.stage_seconds),
        "judged": None if model.sla is None or window.judged is None else _judged(model.sla, window.judged),
    }


def _judged(sla: SlaTarget, judged: Judged) -> dict[str, Any]:
    """What the verdict goes by, with bounds of the share that misses, and how far it is to `met`."""
    lower, upper = miss_ratio_bounds(judged)
    return {
        "observed": judged.observed,
        "within_sla": judged.within,
        "confidence": judged.confidence,
        "miss_ratio_lower": lower,
        "miss_ratio_upper": upper,
        "inferences_until_met": inferences_until_met(sla, judged),
    }


def _gpu(gpu: GpuFacts) -> dict[str, Any]:
    device = gpu.identity
    return {
        "gpu_uuid": device.uuid,
        "index": device.index,
        "product": device.product,
        "driver_version": device.driver_version,
        "source": device.source,
        "energy": device.energy,
        "memory_total_bytes": device.memory_total_bytes,
        "power_limit_watts": device.power_limit_watts,
        "power_kind": device.power_kind,
        "power_scope": device.power_scope,
        "assumed": device.assumed,
        "share_ratio": device.share_ratio,
        "up": gpu.up,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "level": finding.level,
        "model": finding.model,
        "evidence": dict(finding.evidence),
        "what_to_do": finding.what_to_do,
        "falsified_by": finding.falsified_by,
        "saving_per_hour": finding.saving_per_hour,
    }


def _losses(snapshot: Snapshot) -> dict[str, Any]:
    """What was not counted, or not in time: by reason, only reasons that occurred."""
    refused: Counter[str] = Counter()
    for (_, reason), exports in snapshot.intake.exports_refused.items():
        refused[reason] += exports
    return {
        "spans_dropped": _occurred(snapshot.intake.spans_dropped),
        "spans_unmapped": _occurred(snapshot.intake.spans_unmapped),
        "exports_refused": _occurred(refused),
        "inferences_late": sum(model.late for model in snapshot.ledger.models),
        "gpu_samples_rejected": _occurred(snapshot.ledger.samples_rejected),
        "unknown_seconds": snapshot.ledger.unknown_seconds,
    }


def _occurred(counts: Mapping[Any, int]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(counts.items()) if count}


def _slot(slot: Slot) -> dict[str, Any]:
    return {
        "start_unix_seconds": slot.start_ns / 1e9,
        "seconds": slot.seconds,
        "model": slot.model,
        "observed": slot.observed,
        "ok": slot.ok,
        "within_sla": slot.within_sla,
        "served_ok": slot.served_ok,
        "cost": slot.cost,
        "joules": slot.joules,
        "busy_seconds": slot.busy_seconds,
        "tokens_input": slot.tokens_input,
        "tokens_output": slot.tokens_output,
    } | ({"unpriced_seconds": slot.unpriced_seconds} if slot.unpriced_seconds else {})


def _date(unix_ns: int | None) -> str | None:
    return None if unix_ns is None else datetime.fromtimestamp(unix_ns / 1e9, UTC).date().isoformat()
