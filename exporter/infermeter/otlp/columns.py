"""From the spans of one scope, in whatever encoding, to batches: what is unfit is left out, the rest grouped by layout. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import le
from typing import Final, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue, Column, Layout, SpanBatch, SpanEvents, SpanFilter

END_OF_TIME_NS = 2**63
"""Marks from here on don't fit a signed 64-bit integer: year 2262."""

TRACE_ID: Final = np.dtype("V16")
"""The 16 bytes of a trace's id."""

_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_NO_TRACE = bytes(_TRACE_ID_BYTES)
_NO_SPAN = bytes(_SPAN_ID_BYTES)

_T = TypeVar("_T")


class Outline(NamedTuple):
    """What a span is called, and what there is in it: never a value."""

    trace_id: bytes
    span_id: bytes
    scope: str
    name: str
    kind: int
    keys: tuple[str, ...]
    events: tuple[str, ...]


class Marks(Protocol):
    """By what spans are fit or not: columns as a sender wrote them."""

    trace_id: list[bytes]
    span_id: list[bytes]
    parent_id: list[bytes]
    start_ns: list[int]
    end_ns: list[int]


class ScopeSpans(Marks, Protocol):
    """Columns of the spans of one scope as a sender wrote them, unchecked, and what is read of them only on demand."""

    name: list[str]
    kind: list[int]
    status: list[int]

    def attributes(self, keys: tuple[str, ...], rows: Sequence[int]) -> tuple[Column | None, ...]:
        """A column for each key, with one value for each of the rows; None where none of them has one."""
        ...

    def events(self, rows: Sequence[int]) -> Iterable[Sequence[tuple[str, int]]]:
        """Names and unix nanoseconds of the events of each of the rows."""
        ...


def span_batches(resource: Mapping[str, AttributeValue], scope: str, spans: ScopeSpans, wanted: SpanFilter) -> list[SpanBatch]:
    """The fit spans of one scope, a batch for each layout, each in the order given."""
    rows = fit_rows(spans)
    return [_batch(resource, scope, layout, spans, of_layout) for layout, of_layout in _rows_by_layout(scope, spans, rows, wanted).items()]


def fit_rows(spans: Marks) -> Sequence[int]:
    """Rows whose ids and times are valid: ids of the right length and not all zero, times that ascend and exist."""
    rows = range(len(spans.span_id))
    if not rows or (
        set(map(len, spans.trace_id)) == {_TRACE_ID_BYTES}
        and set(map(len, spans.span_id)) == {_SPAN_ID_BYTES}
        and {0, _SPAN_ID_BYTES}.issuperset(map(len, spans.parent_id))
        and _NO_TRACE not in spans.trace_id
        and _NO_SPAN not in spans.span_id
        and min(spans.start_ns) > 0
        and max(spans.end_ns) < END_OF_TIME_NS
        and all(map(le, spans.start_ns, spans.end_ns))
    ):
        return rows
    return [
        row
        for row, (trace, span, parent, start, end) in enumerate(
            zip(spans.trace_id, spans.span_id, spans.parent_id, spans.start_ns, spans.end_ns, strict=True)
        )
        if len(trace) == _TRACE_ID_BYTES
        and len(span) == _SPAN_ID_BYTES
        and len(parent) in {0, _SPAN_ID_BYTES}
        and trace != _NO_TRACE
        and span != _NO_SPAN
        and 0 < start <= end < END_OF_TIME_NS
    ]


def _rows_by_layout(scope: str, spans: ScopeSpans, rows: Sequence[int], wanted: SpanFilter) -> Mapping[Layout, Sequence[int]]:
    """The rows of each layout, in order of their first span. Asks for a layout once a name."""
    layouts = {name: wanted.layout(scope, name) for name in set(_at(spans.name, rows))}
    if len(set(layouts.values())) == 1:
        return {next(iter(layouts.values())): rows}
    grouped: dict[Layout, list[int]] = {}
    for row in rows:
        grouped.setdefault(layouts[spans.name[row]], []).append(row)
    return grouped


def _batch(resource: Mapping[str, AttributeValue], scope: str, layout: Layout, spans: ScopeSpans, rows: Sequence[int]) -> SpanBatch:
    """One batch of the given rows (at least one)."""
    traces, ids = _at(spans.trace_id, rows), _at(spans.span_id, rows)
    parents = [parent or _NO_SPAN for parent in _at(spans.parent_id, rows)]
    return SpanBatch(
        resource=resource,
        scope=scope,
        layout=layout,
        trace_id=np.frombuffer(b"".join(traces), TRACE_ID),
        span_id=np.frombuffer(b"".join(ids), np.uint64),
        parent_id=np.frombuffer(b"".join(parents), np.uint64),
        kind=_known(_at(spans.kind, rows), len(SPAN_KINDS)),
        status=_known(_at(spans.status, rows), len(STATUS_CODES)),
        start_ns=np.array(_at(spans.start_ns, rows), np.int64),
        end_ns=np.array(_at(spans.end_ns, rows), np.int64),
        attributes=spans.attributes(layout.keys, rows),
        events=events(spans.events(rows)) if layout.events else None,
    )


def objects(values: Sequence[AttributeValue | None]) -> Column | None:
    """Values of any type as a column; None where there is none."""
    return None if values.count(None) == len(values) else np.fromiter(values, np.object_, len(values))


def events(of_rows: Iterable[Sequence[tuple[str, int]]]) -> SpanEvents:
    """The events of each row."""
    told = list(of_rows)
    every = list(chain.from_iterable(told))
    names = {name: number for number, name in enumerate(dict.fromkeys(name for name, _ in every))}
    return SpanEvents(
        names=tuple(names),
        row=np.repeat(np.arange(len(told)), np.fromiter(map(len, told), np.int64, len(told))),
        name=np.array([names[name] for name, _ in every], np.int64),
        time_ns=np.array([time_ns for _, time_ns in every], np.int64),
    )


def _at(column: list[_T], rows: Sequence[int]) -> list[_T]:
    """The values of the rows, the column itself where they are all of it."""
    if len(rows) == len(column):
        return column
    return [column[row] for row in rows]


def _known(codes: list[int], count: int) -> npt.NDArray[np.uint8]:
    """The codes with those that don't exist (yet) as 0, unspecified."""
    return np.array([code if 0 <= code < count else 0 for code in codes], np.uint8)
