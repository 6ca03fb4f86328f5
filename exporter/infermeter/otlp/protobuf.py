"""OTLP's protobuf encoding to columns. Pure.

Spans that look alike are decoded together (templates.py). The others are parsed by protobuf, and even they are never walked attribute by
attribute: each wanted key is one lookup in C, and a column of doubles, which is most of what inference servers tell, is converted as
one block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.message import DecodeError as WireError

from infermeter.errors import DecodeError
from infermeter.model import AttributeValue, Column, Export, SpanBatch, SpanFilter
from infermeter.otlp.alike import alike_spans
from infermeter.otlp.columns import END_OF_TIME_NS, Outline, span_batches
from infermeter.otlp.messages import EXPORT_REQUEST, RAW_EXPORT_REQUEST, RAW_SCOPE_SPANS, SCOPE_SPANS, SPAN, Message
from infermeter.otlp.templates import Templates
from infermeter.otlp.values import column_values, value_of

_SPANS_AT_ONCE = 8192
"""What is made of spans to read them is ten times as large as an empty span: it isn't made of a million at once."""


def decode_protobuf(body: bytes, wanted: SpanFilter, templates: Templates | None = None) -> Export:
    """The spans of one serialised ExportTraceServiceRequest (or TracesData), with only what is wanted of them.

    `templates` are those that other exports left, for the same `wanted`; without them protobuf parses every span. The result is the same,
    but for the order. `Export.spans` counts the malformed too.

    Raises:
        DecodeError: the bytes are no such message, or a wanted attribute is none.
    """
    try:
        request = RAW_EXPORT_REQUEST.FromString(body)
        return _export(request, wanted, templates)
    except WireError:
        raise DecodeError("no OTLP trace export in protobuf") from None


def outlined_protobuf(body: bytes) -> Iterator[Outline]:
    """The outlines of the spans of an export that `decode_protobuf` takes."""
    for resource_spans in EXPORT_REQUEST.FromString(body).resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                keys, events = tuple(span.attributes), tuple(event.name for event in span.events)
                yield Outline(span.trace_id, span.span_id, scope_spans.scope.name, span.name, span.kind, keys, events)


def _export(request: Message, wanted: SpanFilter, templates: Templates | None) -> Export:
    """The batches of a request whose spans aren't parsed yet."""
    batches: list[SpanBatch] = []
    spans = 0
    first: bytes | None = None
    last = b""
    for resource_spans in request.resource_spans:
        resource = resource_of(resource_spans.resource, wanted)
        for scope_spans in resource_spans.scope_spans:
            scope, raws = scope_spans.scope.name, scope_spans.spans
            spans += len(raws)
            batches += raw_batches(resource, scope, raws, wanted, templates)
            if raws:
                first, last = raws[0] if first is None else first, raws[-1]
    outermost = (SPAN.FromString(first).span_id, SPAN.FromString(last).span_id) if first is not None else (b"", b"")
    return Export(batches=tuple(batches), spans=spans, malformed=spans - sum(map(len, batches)), outermost=outermost)


def resource_of(message: Message, wanted: SpanFilter) -> dict[str, AttributeValue]:
    """The wanted attributes of a resource. Raises: google.protobuf.message.DecodeError."""
    told = message.attributes
    present = {key: value_of(told[key]) for key in wanted.resource_keys if key in told}
    return {key: value for key, value in present.items() if value is not None}


def raw_batches(
    resource: Mapping[str, AttributeValue], scope: str, raws: Sequence[bytes], wanted: SpanFilter, templates: Templates | None
) -> Iterator[SpanBatch]:
    """All serialised spans of a scope: those that fit templates, and the others. Raises: google.protobuf.message.DecodeError."""
    for at in range(0, len(raws), _SPANS_AT_ONCE):
        others = raws[at : at + _SPANS_AT_ONCE]
        if templates is not None:
            alike, others = templates.sorted(others, scope)
            yield from alike_spans(resource, scope, alike)
        if others:
            parsed = SCOPE_SPANS.FromString(RAW_SCOPE_SPANS(spans=others).SerializeToString())  # at once, in one arena
            yield from span_batches(resource, scope, _WireSpans(list(parsed.spans)), wanted)


class _WireSpans:
    """`columns.ScopeSpans` over parsed messages."""

    def __init__(self, spans: list[Message]) -> None:
        self._spans = spans
        self.trace_id: list[bytes] = [span.trace_id for span in spans]
        self.span_id: list[bytes] = [span.span_id for span in spans]
        self.parent_id: list[bytes] = [span.parent_span_id for span in spans]
        self.name: list[str] = [span.name for span in spans]
        self.kind: list[int] = [span.kind for span in spans]
        self.status: list[int] = [span.status.code for span in spans]
        self.start_ns: list[int] = [span.start_time_unix_nano for span in spans]
        self.end_ns: list[int] = [span.end_time_unix_nano for span in spans]

    def attributes(self, keys: tuple[str, ...], rows: Sequence[int]) -> tuple[Column | None, ...]:
        """A column for each key; a missing key reads as an empty value, which is no value either."""
        if not keys:
            return ()
        maps = [self._spans[row].attributes for row in rows]
        return tuple([column_values([told[key] for told in maps]) for key in keys])

    def events(self, rows: Sequence[int]) -> list[list[tuple[str, int]]]:
        """Names and times of the events that have a time."""
        return [
            [(event.name, event.time_unix_nano) for event in self._spans[row].events if 0 < event.time_unix_nano < END_OF_TIME_NS]
            for row in rows
        ]
