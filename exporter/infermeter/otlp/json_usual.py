"""Exports in JSON that are written as nearly all senders write them. Pure.

A parser that knows the schema (json_messages.py) makes one object of each span, attribute and event in half the time that dictionaries
take, and the spans of all scopes are read together, a column at a time (json_columns.py). That takes keys in camelCase and members of the
types that senders give them. Where something is not so, nothing is returned, and the export is read span by span (json_spans.py): what is
read here is what would be read there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, compress
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue, Bools, Export, Ints, Layout, SpanBatch, SpanFilter
from infermeter.otlp.columns import TRACE_ID
from infermeter.otlp.json_columns import attributes, codes, events, ids, instants, scalar
from infermeter.otlp.json_messages import EXPORT_REQUEST, Span
from infermeter.otlp.json_values import id_bytes, kind_code, status_code

_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_NO_PARENT = "0" * 2 * _SPAN_ID_BYTES


class _Scope(NamedTuple):
    """The spans of one scope."""

    resource: Mapping[str, AttributeValue]
    name: str
    spans: list[Span]


class _Columns(NamedTuple):
    """What all spans of an export have."""

    trace_id: npt.NDArray[np.void]
    span_id: npt.NDArray[np.uint64]
    parent_id: npt.NDArray[np.uint64]
    kind: npt.NDArray[np.uint8]
    status: npt.NDArray[np.uint8]
    start_ns: Ints
    end_ns: Ints

    def of(self, rows: slice | npt.NDArray[np.intp]) -> _Columns:
        """The same of some of the spans."""
        return _Columns(
            trace_id=self.trace_id[rows],
            span_id=self.span_id[rows],
            parent_id=self.parent_id[rows],
            kind=self.kind[rows],
            status=self.status[rows],
            start_ns=self.start_ns[rows],
            end_ns=self.end_ns[rows],
        )


def usual_export(body: bytes, wanted: SpanFilter) -> Export | None:
    """The spans of an ExportTraceServiceRequest in JSON; None where not all is as usual."""
    try:
        scopes = _scopes(body, wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    spans = list(chain.from_iterable([scope.spans for scope in scopes]))
    if not spans:
        return Export(batches=(), spans=0, malformed=0, outermost=(b"", b""))
    columns, fit = _columns(spans)
    malformed = len(spans) - int(np.count_nonzero(fit))
    if malformed:
        columns = columns.of(np.flatnonzero(fit))
        is_fit = iter(fit.tolist())
        scopes = [scope._replace(spans=list(compress(scope.spans, is_fit))) for scope in scopes]
    batches: list[SpanBatch] = []
    at = 0
    for scope in scopes:
        batches += _batches(scope, wanted, columns.of(slice(at, at := at + len(scope.spans))))
    outermost = id_bytes(spans[0].span_id), id_bytes(spans[-1].span_id)
    return Export(batches=tuple(batches), spans=len(spans), malformed=malformed, outermost=outermost)


def _scopes(body: bytes, wanted: SpanFilter) -> list[_Scope]:
    """All scopes that have spans."""
    scopes: list[_Scope] = []
    for resource_spans in EXPORT_REQUEST.decode(body).resource_spans:
        told = (resource_spans.resource and resource_spans.resource.attributes) or ()
        values = {attribute.key: scalar(attribute.value) for attribute in told if attribute.key in wanted.resource_keys}
        resource = {key: value for key, value in values.items() if value is not None}
        scopes += [
            _Scope(resource, scope_spans.scope.name if scope_spans.scope else "", scope_spans.spans)
            for scope_spans in resource_spans.scope_spans or ()
            if scope_spans.spans
        ]
    return scopes


def _columns(spans: list[Span]) -> tuple[_Columns, Bools]:
    """What all spans have, and which of them are fit: ids that are some, times that ascend and exist."""
    trace_id = np.frombuffer(ids([span.trace_id for span in spans], _TRACE_ID_BYTES)[0], TRACE_ID)
    span_id = np.frombuffer(ids([span.span_id for span in spans], _SPAN_ID_BYTES)[0], np.uint64)
    parents, no_parents = ids([span.parent_span_id or _NO_PARENT for span in spans], _SPAN_ID_BYTES)
    start_ns = instants([span.start_time_unix_nano for span in spans])
    end_ns = instants([span.end_time_unix_nano for span in spans])
    fit: Bools = trace_id.view(np.uint64).reshape(-1, 2).any(axis=1) & (span_id != 0) & (start_ns > 0) & (start_ns <= end_ns)
    if no_parents:
        fit[list(no_parents)] = False
    columns = _Columns(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=np.frombuffer(parents, np.uint64),
        kind=codes([span.kind for span in spans], kind_code, len(SPAN_KINDS)),
        status=codes([span.status and span.status.code for span in spans], status_code, len(STATUS_CODES)),
        start_ns=start_ns,
        end_ns=end_ns,
    )
    return columns, fit


def _batches(scope: _Scope, wanted: SpanFilter, columns: _Columns) -> Iterator[SpanBatch]:
    """The spans of one scope, a batch for each layout."""
    if not scope.spans:  # none was fit
        return
    names = [span.name for span in scope.spans]
    of_name = {name: wanted.layout(scope.name, name) for name in dict.fromkeys(names)}
    layouts = dict.fromkeys(of_name.values())
    if len(layouts) == 1:
        yield _batch(scope, next(iter(layouts)), columns)
        return
    numbers = {layout: number for number, layout in enumerate(layouts)}
    number_of_name = {name: numbers[layout] for name, layout in of_name.items()}
    number = np.array([number_of_name[name] for name in names], np.intp)
    for layout in layouts:
        rows = np.flatnonzero(number == numbers[layout])
        spans = [scope.spans[row] for row in rows.tolist()]
        yield _batch(scope._replace(spans=spans), layout, columns.of(rows))


def _batch(scope: _Scope, layout: Layout, columns: _Columns) -> SpanBatch:
    return SpanBatch(
        resource=scope.resource,
        scope=scope.name,
        layout=layout,
        **columns._asdict(),
        attributes=attributes(scope.spans, layout.keys),
        events=events(scope.spans) if layout.events else None,
    )
