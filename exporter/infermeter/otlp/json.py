"""OTLP's JSON encoding to columns, as senders write it. Pure.

Ids are hex of either case; 64-bit numbers are strings or numbers, enums numbers or names; keys are camelCase or snake_case. What
is missing or null is unset; what has another type than it can have makes the whole export unfit, but for ids, times and values,
which only make their span or attribute so. protobuf's own JSON reader takes ids for base64 and is 20 times slower.

Source: OTLP specification 1.x, "JSON Protobuf Encoding"; ProtoJSON format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import orjson

from infermeter.errors import DecodeError
from infermeter.model import SPAN_KINDS, STATUS_CODES, AttributeValue, Column, Export, SpanBatch, SpanFilter
from infermeter.otlp.columns import END_OF_TIME_NS, Outline, objects, span_batches

_Object: TypeAlias = Mapping[str, object]
_T = TypeVar("_T")

_KINDS = {f"SPAN_KIND_{name.upper()}": number for number, name in enumerate(SPAN_KINDS)}
_STATUSES = {f"STATUS_CODE_{name.upper()}": number for number, name in enumerate(STATUS_CODES)}
_NOT_AN_ID = b"?"
_INT64_END = 2**63


def decode_json(body: bytes, wanted: SpanFilter) -> Export:
    """The spans of one ExportTraceServiceRequest (or TracesData) in JSON, with only what is wanted of them.

    `Export.spans` counts the malformed too.

    Raises:
        DecodeError: no JSON, or not the shape of such a message.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise DecodeError("no JSON") from None
    batches: list[SpanBatch] = []
    span_ids: list[list[bytes]] = []
    for resource_spans in _objects(_checked(request, dict, "the export"), "resourceSpans", "resource_spans", "batches"):
        told = _attributes(_object(resource_spans, "resource"))
        values = {key: _scalar(told[key]) for key in wanted.resource_keys if key in told}
        resource = {key: value for key, value in values.items() if value is not None}
        for scope_spans in _objects(resource_spans, "scopeSpans", "scope_spans"):
            columns = _JsonSpans(_objects(scope_spans, "spans"))
            span_ids.append(columns.span_id)
            batches += span_batches(resource, _text(_object(scope_spans, "scope"), "name"), columns, wanted)
    sent = [span_id for ids in span_ids for span_id in ids]
    outermost = (sent[0], sent[-1]) if sent else (b"", b"")
    return Export(batches=tuple(batches), spans=len(sent), malformed=len(sent) - sum(map(len, batches)), outermost=outermost)


def outlined_json(body: bytes) -> Iterator[Outline]:
    """The outlines of the spans of an export that `decode_json` takes."""
    for resource_spans in _objects(orjson.loads(body), "resourceSpans", "resource_spans", "batches"):
        for scope_spans in _objects(resource_spans, "scopeSpans", "scope_spans"):
            columns = _JsonSpans(spans := _objects(scope_spans, "spans"))
            scope = _text(_object(scope_spans, "scope"), "name")
            for row, span in enumerate(spans):
                keys, events = tuple(_attributes(span)), tuple(_text(event, "name") for event in _objects(span, "events"))
                yield Outline(columns.trace_id[row], columns.span_id[row], scope, columns.name[row], columns.kind[row], keys, events)


class _JsonSpans:
    """`columns.ScopeSpans` over parsed objects."""

    def __init__(self, spans: Sequence[_Object]) -> None:
        self._spans = spans
        self.trace_id = [_id(_member(span, "traceId", "trace_id")) for span in spans]
        self.span_id = [_id(_member(span, "spanId", "span_id")) for span in spans]
        self.parent_id = [_id(_member(span, "parentSpanId", "parent_span_id")) for span in spans]
        self.name = [_text(span, "name") for span in spans]
        self.kind = [_code(span.get("kind"), _KINDS) for span in spans]
        self.status = [_code(_object(span, "status").get("code"), _STATUSES) for span in spans]
        self.start_ns = [_integer(_member(span, "startTimeUnixNano", "start_time_unix_nano")) or 0 for span in spans]
        self.end_ns = [_integer(_member(span, "endTimeUnixNano", "end_time_unix_nano")) or 0 for span in spans]

    def attributes(self, keys: tuple[str, ...], rows: Sequence[int]) -> tuple[Column | None, ...]:
        """A column for each key."""
        if not keys:
            return ()
        maps = [_attributes(self._spans[row]) for row in rows]
        return tuple(objects([_scalar(told.get(key)) for told in maps]) for key in keys)

    def events(self, rows: Sequence[int]) -> list[list[tuple[str, int]]]:
        """Names and times of the events that have a time."""
        return [[event for event in map(_event, _objects(self._spans[row], "events")) if 0 < event[1] < END_OF_TIME_NS] for row in rows]


def _checked(value: object, kind: type[_T], what: str) -> _T:
    """The value, if it has the type that it must have."""
    if not isinstance(value, kind):
        raise DecodeError(f"{what} has the wrong type")
    return value


def _member(parent: _Object, *names: str) -> object:
    """The first member of these names that is set, None if none is."""
    for name in names:
        value = parent.get(name)
        if value is not None:
            return value
    return None


def _object(parent: _Object, name: str) -> _Object:
    """An object, empty where it is unset."""
    value = parent.get(name)
    return {} if value is None else _checked(value, dict, name)


def _objects(parent: _Object, *names: str) -> Sequence[_Object]:
    """A list of objects, empty where it is unset."""
    value = _member(parent, *names)
    objects: list[_Object] = [] if value is None else _checked(value, list, names[0])
    for each in objects:
        _checked(each, dict, names[0])
    return objects


def _text(parent: _Object, name: str) -> str:
    """A text, empty where it is unset."""
    value = parent.get(name)
    return "" if value is None else _checked(value, str, name)


def _attributes(parent: _Object) -> Mapping[str, object]:
    """The attributes of a span or a resource, not yet looked into; the last of two equal keys wins."""
    return {_text(attribute, "key"): attribute.get("value") for attribute in _objects(parent, "attributes")}


def _event(event: _Object) -> tuple[str, int]:
    """Name and unix nanoseconds of an event, 0 where it has no time."""
    return _text(event, "name"), _integer(_member(event, "timeUnixNano", "time_unix_nano")) or 0


def _id(value: object) -> bytes:
    """The bytes of an id in hex: none where it is unset, and what is no id at all has a length that no id has."""
    if value is None:
        return b""
    try:
        return bytes.fromhex(value) if isinstance(value, str) else _NOT_AN_ID
    except ValueError:
        return _NOT_AN_ID


def _code(value: object, names: Mapping[str, int]) -> int:
    """An enum's number from its number or its name, 0 where it is neither."""
    if isinstance(value, str) and value in names:
        return names[value]
    return _integer(value) or 0


def _integer(value: object) -> int | None:
    """A whole number written as a number or a string, None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _int64(value: object) -> int | None:
    """A whole number that fits 64 bits."""
    number = _integer(value)
    return number if number is not None and -_INT64_END <= number < _INT64_END else None


def _double(value: object) -> float | None:
    """A number, or a string that says one, `NaN`, `Infinity` or `-Infinity`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


_VALUES: dict[str, Callable[[object], AttributeValue | None]] = {
    "stringValue": lambda value: value if isinstance(value, str) else None,
    "boolValue": lambda value: value if isinstance(value, bool) else None,
    "intValue": _int64,
    "doubleValue": _double,
}
_VALUES |= {f"{name.removesuffix('Value')}_value": read for name, read in _VALUES.items()}


def _scalar(value: object) -> AttributeValue | None:
    """The value of an attribute, None where it is unset or no scalar."""
    if isinstance(value, dict):
        for name, told in value.items():
            if told is not None and name in _VALUES:
                return _VALUES[name](told)
    return None
