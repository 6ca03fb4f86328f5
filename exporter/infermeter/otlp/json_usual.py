"""Exports in JSON that are written as nearly all senders write them: a column at a time. Pure.

A parser that knows the schema (json_messages.py) makes one object of each span, attribute and event in half the time that dictionaries
take. Then what costs most are calls of functions for each of them. So here each member of all spans is one comprehension, a column is
checked and converted as a whole, and what differs little, as kinds do, is read once for each different value. That takes keys in
camelCase, ids in hex, the numbers of a column of one type, and spans that are all fit. Wherever something is not so, nothing is returned,
and the export is read span by span (json_spans.py): what is read here is what would be read there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from infermeter.model import (
    SPAN_KINDS,
    STATUS_CODES,
    AttributeValue,
    Column,
    Export,
    Floats,
    Ints,
    Layout,
    SpanBatch,
    SpanEvents,
    SpanFilter,
)
from infermeter.otlp.columns import END_OF_TIME_NS, TRACE_ID, objects
from infermeter.otlp.json_messages import EXPORT_REQUEST, AnyValue, KeyValue, Span
from infermeter.otlp.json_values import double, int64, kind_code, status_code

_TRACE_DIGITS = 32
_SPAN_DIGITS = 16
_SPAN_ID_BYTES = 8
_NO_PARENT = "0" * _SPAN_DIGITS

_INSTANT_DIGITS = 19
"""Of unix nanoseconds in decimal, from 2001 to 2286."""

_POWERS: Final = np.uint64(10) ** np.arange(_INSTANT_DIGITS - 1, -1, -1, dtype=np.uint64)


class _Unusual(ValueError):
    """Something that isn't read here."""


class _Scope(NamedTuple):
    """The spans of one scope, at least one."""

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
    """The spans of an ExportTraceServiceRequest in JSON, none of them malformed; None where not all is as usual."""
    try:
        scopes = _scopes(body, wanted)
        spans = list(chain.from_iterable([scope.spans for scope in scopes]))
        if not spans:
            return Export(batches=(), spans=0, malformed=0, outermost=(b"", b""))
        ids = _ids([span.span_id for span in spans], _SPAN_DIGITS)
        columns = _columns(spans, ids)
        batches: list[SpanBatch] = []
        at = 0
        for scope in scopes:
            batches += _batches(scope, wanted, columns.of(slice(at, at := at + len(scope.spans))))
    except (msgspec.DecodeError, RecursionError, ValueError, OverflowError):  # no hex, no number, no UTF-8, a number too large
        return None
    return Export(batches=tuple(batches), spans=len(spans), malformed=0, outermost=(ids[:_SPAN_ID_BYTES], ids[-_SPAN_ID_BYTES:]))


def _scopes(body: bytes, wanted: SpanFilter) -> list[_Scope]:
    """All scopes that have spans."""
    scopes: list[_Scope] = []
    for resource_spans in EXPORT_REQUEST.decode(body).resource_spans:
        told = (resource_spans.resource and resource_spans.resource.attributes) or ()
        values = {attribute.key: _scalar(attribute.value) for attribute in told if attribute.key in wanted.resource_keys}
        resource = {key: value for key, value in values.items() if value is not None}
        scopes += [
            _Scope(resource, scope_spans.scope.name if scope_spans.scope else "", scope_spans.spans)
            for scope_spans in resource_spans.scope_spans or ()
            if scope_spans.spans
        ]
    return scopes


def _columns(spans: list[Span], ids: bytes) -> _Columns:
    """What all spans have."""
    columns = _Columns(
        trace_id=np.frombuffer(_ids([span.trace_id for span in spans], _TRACE_DIGITS), TRACE_ID),
        span_id=np.frombuffer(ids, np.uint64),
        parent_id=np.frombuffer(_ids([span.parent_span_id or _NO_PARENT for span in spans], _SPAN_DIGITS), np.uint64),
        kind=_codes([span.kind for span in spans], kind_code, len(SPAN_KINDS)),
        status=_codes([span.status and span.status.code for span in spans], status_code, len(STATUS_CODES)),
        start_ns=_instants([span.start_time_unix_nano for span in spans]),
        end_ns=_instants([span.end_time_unix_nano for span in spans]),
    )
    _must((columns.start_ns <= columns.end_ns).all())
    _must(columns.span_id.all() and columns.trace_id.view(np.uint64).reshape(-1, 2).any(axis=1).all())
    return columns


def _batches(scope: _Scope, wanted: SpanFilter, columns: _Columns) -> Iterator[SpanBatch]:
    """The spans of one scope, a batch for each layout."""
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
        attributes=_attributes(scope.spans, layout.keys),
        events=_events(scope.spans) if layout.events else None,
    )


def _must(is_usual: object) -> None:
    if not is_usual:
        raise _Unusual


def _ids(column: list[str], digits: int) -> bytes:
    """The bytes of ids, one after the other, each written with so many hex digits."""
    hexed = "".join(column)
    _must(set(map(len, column)) == {digits})
    raw = bytes.fromhex(hexed)
    _must(2 * len(raw) == len(hexed))  # white space is skipped there
    return raw


def _instants(column: list[Any]) -> Ints:
    """Unix nanoseconds, all after 1970 and before the end of time."""
    try:
        written = np.frombuffer(",".join(column).encode() + b",", np.uint8).reshape(len(column), _INSTANT_DIGITS + 1)
        digits = written[:, :-1] - ord("0")  # what is below wraps around
        are_digits = digits.max() <= 9  # so the commas, one for each row, are where they belong
    except (TypeError, ValueError):  # numbers, or not all of this length
        are_digits = False
    instants = np.einsum("ij,j->i", digits, _POWERS) if are_digits else _integers(column)  # einsum never copies all digits
    _must(instants.min() > 0 and instants.max() < END_OF_TIME_NS)
    return instants.astype(np.int64)


def _integers(column: list[Any]) -> Ints:
    """Whole numbers of 64 bits, all written as strings or all as numbers."""
    _must(set(map(type, column)) in ({str}, {int}))
    return np.fromiter(map(int, column), np.int64, len(column))


def _codes(column: list[Any], read: Callable[[object], int], codes: int) -> npt.NDArray[np.uint8]:
    """The codes with those that don't exist (yet) as 0, unspecified."""
    known = {told: code if 0 <= (code := read(told)) < codes else 0 for told in set(column)}
    if len(known) == 1:
        return np.full(len(column), known.popitem()[1], np.uint8)
    return np.array([known[told] for told in column], np.uint8)


def _attributes(spans: Sequence[Span], keys: tuple[str, ...]) -> tuple[Column | None, ...]:
    """A column for each key."""
    lists = [span.attributes or () for span in spans] if keys else []
    every = list(chain.from_iterable(lists))
    if not every:
        return (None,) * len(keys)
    told, each = [attribute.key for attribute in every], len(lists[0])
    if set(map(len, lists)) == {each} and told == told[:each] * len(lists):  # all spans tell the same, in the same order
        places = {key: place for place, key in enumerate(told[:each])}
        return tuple([_column(every[places[key] :: each]) if key in places else None for key in keys])
    maps = [{attribute.key: attribute for attribute in attributes} for attributes in lists]
    return tuple([_column([attributes.get(key) for attributes in maps]) for key in keys])


def _column(attributes: Sequence[KeyValue | None]) -> Column | None:
    """The values of one attribute: read together where all are of one type, else one by one."""
    try:
        for told, read in _COLUMNS:
            column = told(attributes)
            if None not in column:
                return read(column)
            if column.count(None) < len(column):
                break
    except (AttributeError, ValueError, OverflowError):  # one has no value, isn't of the type, or is no number that fits
        pass
    return objects([None if attribute is None else _scalar(attribute.value) for attribute in attributes])


def _doubles(column: list[Any]) -> Floats:
    _must(set(map(type, column)) == {float})
    return np.fromiter(column, np.float64, len(column))


def _texts(column: list[Any]) -> Column:
    return np.fromiter(column, np.object_, len(column))


_COLUMNS: Sequence[tuple[Callable[[Sequence[Any]], list[Any]], Callable[[list[Any]], Column]]] = (
    (lambda attributes: [attribute.value.double_value for attribute in attributes], _doubles),
    (lambda attributes: [attribute.value.int_value for attribute in attributes], _integers),
    (lambda attributes: [attribute.value.string_value for attribute in attributes], _texts),
)
"""In the order in which `json_values.scalar` looks."""


def _scalar(value: AnyValue | None) -> AttributeValue | None:
    """The value of an attribute, None where it is unset or no scalar."""
    if value is None:
        return None
    if value.double_value is not None:
        return double(value.double_value)
    if value.int_value is not None:
        return int64(value.int_value)
    return value.bool_value if value.string_value is None else value.string_value


def _events(spans: Sequence[Span]) -> SpanEvents:
    """The events of the spans, each with a time."""
    of_spans = [span.events or () for span in spans]
    every = list(chain.from_iterable(of_spans))
    numbers: defaultdict[str, int] = defaultdict(count().__next__)  # a new name gets the next number
    return SpanEvents(
        name=np.fromiter(map(numbers.__getitem__, [event.name for event in every]), np.int64, len(every)),
        names=tuple(numbers),
        row=np.repeat(np.arange(len(of_spans)), np.fromiter(map(len, of_spans), np.int64, len(of_spans))),
        time_ns=_instants([event.time_unix_nano for event in every]) if every else np.empty(0, np.int64),
    )
