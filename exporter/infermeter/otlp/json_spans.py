"""Spans of an export in JSON, read one by one. Pure.

Ids are hex of either case; keys are camelCase or snake_case. protobuf's own JSON reader takes ids for base64 and is 20 times slower.
"""

from __future__ import annotations

from collections.abc import Sequence

from infermeter.model import Column
from infermeter.otlp.columns import END_OF_TIME_NS, objects
from infermeter.otlp.json_values import (
    Object,
    attributes_in,
    id_bytes,
    integer,
    kind_code,
    member,
    object_in,
    objects_in,
    scalar,
    status_code,
    text_in,
)


class JsonSpans:
    """`columns.ScopeSpans` over parsed objects.

    Raises:
        DecodeError: one of them is no span.
    """

    def __init__(self, spans: Sequence[Object]) -> None:
        self._spans = spans
        self.trace_id = [id_bytes(member(span, "traceId", "trace_id")) for span in spans]
        self.span_id = [id_bytes(member(span, "spanId", "span_id")) for span in spans]
        self.parent_id = [id_bytes(member(span, "parentSpanId", "parent_span_id")) for span in spans]
        self.name = [text_in(span, "name") for span in spans]
        self.kind = [kind_code(span.get("kind")) for span in spans]
        self.status = [status_code(object_in(span, "status").get("code")) for span in spans]
        self.start_ns = [integer(member(span, "startTimeUnixNano", "start_time_unix_nano")) or 0 for span in spans]
        self.end_ns = [integer(member(span, "endTimeUnixNano", "end_time_unix_nano")) or 0 for span in spans]

    def attributes(self, keys: tuple[str, ...], rows: Sequence[int]) -> tuple[Column | None, ...]:
        """A column for each key."""
        if not keys:
            return ()
        maps = [attributes_in(self._spans[row]) for row in rows]
        return tuple(objects([scalar(told.get(key)) for told in maps]) for key in keys)

    def events(self, rows: Sequence[int]) -> list[list[tuple[str, int]]]:
        """Names and times of the events that have a time."""
        return [[event for event in map(_event, objects_in(self._spans[row], "events")) if 0 < event[1] < END_OF_TIME_NS] for row in rows]


def _event(event: Object) -> tuple[str, int]:
    """Name and unix nanoseconds of an event, 0 where it has no time."""
    return text_in(event, "name"), integer(member(event, "timeUnixNano", "time_unix_nano")) or 0
