"""The live table: a row from two readings of the sidecar's report, nothing from anywhere else but the load that is offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Report: TypeAlias = dict[str, Any]
"""What `/api/v1/report` answers: families, each a list of {"labels", "value"}; an absent family is an absent key."""

COLUMNS = (
    ("load/s", 7),
    ("done/s", 7),
    ("mostly", 14),
    ("busy", 6),
    ("watts", 6),
    ("USD/1M", 8),
    ("p99 1m", 8),
    ("at SLA 1m", 10),
    ("SLA 1m", 13),
)
"""Headings and widths, within 80 in all."""

LEGEND = """\
Each row tells of the last ten seconds; 1m: of the sidecar's window, once it holds enough. USD/1M: the cost of a million inferences;
at SLA: of a million within the SLA, all cost included. mostly: the stage to which most seconds went.
"""

ABSENT = "-"
STAGES = ("queue", "compute", "transfer", "serialisation", "other")


def heading() -> str:
    """What stands above the rows."""
    return f"{LEGEND}\n" + "".join(title.rjust(width) for title, width in COLUMNS)


def row(earlier: Report, later: Report, *, offered_per_second: float) -> str:
    """What happened between two readings; `-` where the sidecar has no evidence (yet)."""
    seconds = later["report"]["end_unix_seconds"] - earlier["report"]["end_unix_seconds"]
    ok = _increase(earlier, later, "inferences_total", outcome="ok")
    settled = _increase(earlier, later, "settled_timestamp_seconds")
    cells = (
        f"{offered_per_second:.0f}",
        _number(_quotient(ok, seconds), ".1f"),
        _dominant_stage(earlier, later) or ABSENT,
        _number(_quotient(_increase(earlier, later, "busy_seconds_total"), settled), ".0%"),
        _number(_total(later, "gpu_power_watts"), ".0f"),
        _number(_millions(_quotient(_increase(earlier, later, "cost_total"), ok)), ".2f"),
        _number(_total(later, "window_latency_at_sla_quantile_seconds", signal="duration"), ".3f", " s"),
        _number(_millions(_total(later, "window_cost_per_inference_at_sla", basis="goodput")), ".2f"),
        _state(later),
    )
    return "".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def drawn(text: str, *, stays: bool, terminal: bool) -> str:
    """What to write for a row: on a terminal each is drawn over the one before it unless that one stays; elsewhere only those that stay."""
    if terminal:
        return f"\r\x1b[2K{text}" + ("\n" if stays else "")
    return f"{text}\n" if stays else ""


def _rows(report: Report, family: str, labels: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    return [r for r in report.get(family, ()) if labels.items() <= r["labels"].items()]


def _total(report: Report, family: str, **labels: str) -> float | None:
    rows = _rows(report, family, labels)
    return sum(r["value"] for r in rows) if rows else None


def _increase(earlier: Report, later: Report, family: str, **labels: str) -> float | None:
    before, after = _total(earlier, family, **labels), _total(later, family, **labels)
    return None if before is None or after is None else after - before


def _quotient(sum_above: float | None, sum_below: float | None) -> float | None:
    return sum_above / sum_below if sum_above is not None and sum_below else None


def _millions(value: float | None) -> float | None:
    return None if value is None else value * 1e6


def _number(value: float | None, form: str, unit: str = "") -> str:
    return ABSENT if value is None else f"{value:{form}}{unit}"


def _dominant_stage(earlier: Report, later: Report) -> str | None:
    """The stage to which most seconds went between the two readings; None if no inference came."""
    seconds = {stage: _stage_seconds(later, stage) - _stage_seconds(earlier, stage) for stage in STAGES}
    stage = max(seconds, key=lambda name: seconds[name])
    return stage if seconds[stage] > 0 else None


def _stage_seconds(report: Report, stage: str) -> float:
    return float(sum(r["sum"] for r in _rows(report, "stage_duration_seconds", {"stage": stage})))


def _state(report: Report) -> str:
    return next((r["labels"]["state"] for r in _rows(report, "window_sla_state", {}) if r["value"] == 1), ABSENT)
