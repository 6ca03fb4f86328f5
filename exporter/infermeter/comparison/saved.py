"""A saved report to one side of a comparison. Pure: the bytes are read elsewhere.

What a report lacks is not made up: it is told (a ConfigError that names the report, or a note).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, TypeAlias

import numpy as np

from infermeter.comparison.stretch import Column, Slots, Stretch
from infermeter.errors import ConfigError
from infermeter.model import SIGNALS, Floats, Signal, SlaTarget
from infermeter.report_json import report_parts

SLOTS_MOST: Final = 500_000
"""A day of slots of ten seconds of more models than a server ever tells."""

_AMOUNT_MOST: Final = 1e15
_DAY_SECONDS: Final = 86_400.0

Rows: TypeAlias = Sequence[Mapping[str, Any]]


def stretch_of(body: bytes, where: str) -> Stretch:
    """The side that a report tells. Raises: ConfigError at `where`, for what is no report, a damaged one, or one that can't be compared."""
    document, about = report_parts(body, where)
    if "slots" not in about:
        raise ConfigError(where, "holds no slots, as /api/v1/report/events leaves them out; save /api/v1/report instead")
    try:
        return _stretch(document, about, where)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ConfigError(where, "is a damaged report: a part is missing, or isn't what docs/report.schema.json says") from None


def _stretch(document: Mapping[str, Any], about: Mapping[str, Any], where: str) -> Stretch:
    """Raises: ConfigError; KeyError, TypeError, ValueError, AttributeError, for what is damaged."""
    rows: Rows = about["slots"]
    if not isinstance(rows, list):
        raise TypeError
    if not rows:
        raise ConfigError(where, "holds no closed slots: nothing is settled yet, or nothing happened; save it later")
    if len(rows) > SLOTS_MOST:
        raise ConfigError(where, f"holds more than {SLOTS_MOST} slots")
    slots, starts = _by_model(rows, sampled=_flag(about["sampled"]))
    seconds = next(iter(slots.values())).columns["seconds"]
    busy = np.zeros(len(starts))
    place = {at: i for i, at in enumerate(starts.tolist())}
    for row in rows:
        if row["start_unix_seconds"] in place:
            busy[place[row["start_unix_seconds"]]] += _amount(row["busy_seconds"])
    currency = about["cost"]["currency"]
    return Stretch(
        server=_text(about["server"]),
        version=_text(about["version"]),
        starts_unix_seconds=starts,
        end_unix_seconds=float(starts[-1] + seconds[-1]),
        currency=None if currency is None else _text(currency),
        slas={_text(row["model"]): _targets(row) for row in about["sla"]},
        slots=slots,
        queue_share_ratio=_queue_shares(document.get("stage_duration_seconds", [])),
        latency_seconds=_latencies(document.get("window_latency_at_sla_quantile_seconds", [])),
        process_start_unix_seconds=_amount(about["start_unix_seconds"]) if about["kind"] == "serve" else None,
        busy_seconds=busy,
        notes=tuple(_notes(about, float(starts[0]))),
    )


def _notes(about: Mapping[str, Any], first_unix_seconds: float) -> Iterator[str]:
    """What a reader should know of a report that can be compared all the same."""
    start = _amount(about["start_unix_seconds"])
    if first_unix_seconds - start >= _DAY_SECONDS / 24:
        hours = (first_unix_seconds - start) / 3600
        yield f"a report keeps the slots of its last 24 hours: the {hours:.0f} hours before them are not compared"
    if about["sampled"]:
        yield "its spans are a sample: they tell shares, and only the server's own counts tell totals"
    unpriced = sum(_amount(row.get("unpriced_seconds", 0.0)) for row in {row["start_unix_seconds"]: row for row in about["slots"]}.values())
    if unpriced:
        yield f"for {unpriced:.0f} s of it a price was missing; that time is left out"


def _by_model(rows: Rows, *, sampled: bool) -> tuple[dict[str, Slots], Floats]:
    """The slots of each model, on the instants at which there was anything of any model, and these instants.

    Where neither money nor energy is told, nothing is booked while nothing happens: slots that are missing then are empty ones.
    """
    times = sorted({_amount(row["start_unix_seconds"]) for row in rows})
    lengths: dict[float, float] = {}
    unpriced: set[float] = set()
    for row in rows:
        at = row["start_unix_seconds"]
        lengths[at] = max(lengths.get(at, 0.0), _amount(row["seconds"]))
        if row.get("unpriced_seconds"):
            unpriced.add(at)
    if all(row["cost"] is None and row["joules"] is None for row in rows):
        times = _filled(times, lengths)
    starts = np.array([at for at in times if lengths.get(at, 0.0) > 0 and at not in unpriced], np.float64)
    if not len(starts):
        raise ValueError
    seconds = np.array([lengths[at] for at in starts.tolist()])
    place = {at: i for i, at in enumerate(starts.tolist())}
    kept = [row for row in rows if row["start_unix_seconds"] in place]
    by_model = groupby(sorted(kept, key=lambda row: _text(row["model"])), key=lambda row: row["model"])
    return {model: _slots(list(own), place, seconds, sampled=sampled) for model, own in by_model}, starts


def _filled(times: Sequence[float], lengths: dict[float, float]) -> list[float]:
    """The instants and, between two of them, those of the empty slots; `lengths` learns theirs. Slots are aligned to their length."""
    length = max(lengths.values())
    if length <= 0 or (times[-1] - times[0]) / length > SLOTS_MOST:
        raise ValueError
    first, last = math.floor(times[0] / length), math.floor(times[-1] / length)
    have = {math.floor(at / length): at for at in times}
    filled = [have.get(number, number * length) for number in range(first, last + 1)]
    for at in filled:
        if not lengths.get(at):
            lengths[at] = length
    return filled


def _slots(rows: Rows, place: Mapping[float, int], seconds: Floats, *, sampled: bool) -> Slots:
    """A model's slots; a column whose value is unknown in a slot with anything in it isn't known."""
    at = [place[row["start_unix_seconds"]] for row in rows]

    def column(values: Sequence[Any]) -> Floats | None:
        if any(value is None for value in values):
            return None
        full = np.zeros(len(seconds))
        np.add.at(full, at, [_amount(value) for value in values])
        return full

    seen_ok = column([row["ok"] for row in rows])
    served = column([row.get("served_ok") for row in rows])
    judged = [row["within_sla"] is not None for row in rows]
    tokens = [_tokens(row) for row in rows]
    told: dict[Column, Floats | None] = {
        "seconds": seconds,
        "cost": column([row["cost"] for row in rows]),
        "inferences": served if served is not None or sampled else seen_ok,
        "seen_ok": seen_ok,
        "joules": column([row["joules"] for row in rows]),
        "tokens": None if sampled else column(tokens),
        "tokens_input": None if sampled else column([row.get("tokens_input") for row in rows]),
        "tokens_output": None if sampled else column([row.get("tokens_output") for row in rows]),
    }
    if any(judged):
        told["judged"] = column([row["observed"] if known else 0 for row, known in zip(rows, judged, strict=True)])
        told["judged_ok"] = column([row["ok"] if known else 0 for row, known in zip(rows, judged, strict=True)])
        told["within"] = column([row["within_sla"] if known else 0 for row, known in zip(rows, judged, strict=True)])
    return Slots({name: values for name, values in told.items() if values is not None})


def _tokens(row: Mapping[str, Any]) -> float | None:
    """Of both directions, as far as they are told; None where neither is."""
    told = [count for count in (row.get("tokens_input"), row.get("tokens_output")) if count is not None]
    return sum(map(_amount, told)) if told else None


def _targets(row: Mapping[str, Any]) -> SlaTarget:
    asked = {f"{signal}_seconds": row[f"{signal}_seconds"] for signal in SIGNALS}
    return SlaTarget(_amount(row["quantile_ratio"]), **{name: None if value is None else _amount(value) for name, value in asked.items()})


def _queue_shares(rows: Rows) -> dict[str, float]:
    """The share of all inferences' time that was waiting, by model."""
    sums: dict[str, dict[str, float]] = {}
    for row in rows:
        sums.setdefault(_text(row["labels"]["model"]), {})[row["labels"]["stage"]] = _amount(row["sum"])
    return {model: own["queue"] / total for model, own in sums.items() if "queue" in own and (total := sum(own.values())) > 0}


def _latencies(rows: Rows) -> dict[tuple[str, Signal, str], float]:
    told: dict[tuple[str, Signal, str], float] = {}
    for row in rows:
        signal = next((known for known in SIGNALS if known == row["labels"]["signal"]), None)
        if signal is not None:
            told[_text(row["labels"]["model"]), signal, _text(row["labels"]["window"])] = _amount(row["value"])
    return told


def _amount(value: Any) -> float:  # noqa: ANN401 - whatever stood in the JSON
    """A number from 0 on. Raises: TypeError, ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if not 0 <= value < _AMOUNT_MOST:
        raise ValueError
    return float(value)


def _text(value: Any) -> str:  # noqa: ANN401 - likewise
    """Raises: TypeError."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _flag(value: Any) -> bool:  # noqa: ANN401 - likewise
    """Raises: TypeError."""
    if not isinstance(value, bool):
        raise TypeError
    return value
