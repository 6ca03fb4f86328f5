"""OTLP's protobuf encoding to columns. Pure.

Spans are never walked attribute by attribute: each wanted key is one lookup in C, and a column of doubles, which is most of what
inference servers tell, is converted as one block.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError as WireError

from infermeter.errors import DecodeError
from infermeter.model import AttributeValue, Export, SpanBatch, SpanFilter
from infermeter.otlp.columns import END_OF_TIME_NS, span_batches
from infermeter.otlp.messages import EXPORT_REQUEST, Message
from infermeter.otlp.values import column_values, value_of

_SPANS_AT_ONCE = 8192
"""What is made of spans to read them is ten times as large as an empty span: it isn't made of a million at once."""


def decode_protobuf(body: bytes, wanted: SpanFilter) -> Export:
    """The spans of one serialised ExportTraceServiceRequest (or TracesData), with only what is wanted of them.

    `Export.spans` counts the malformed too.

    Raises:
        DecodeError: the bytes are no such message, or a wanted attribute is none.
    """
    try:
        request = EXPORT_REQUEST.FromString(body)
        return _export(request, wanted)
    except WireError:
        raise DecodeError("no OTLP trace export in protobuf") from None


def _export(request: Message, wanted: SpanFilter) -> Export:
    """The batches of a parsed request."""
    batches: list[SpanBatch] = []
    spans = 0
    for resource_spans in request.resource_spans:
        told = resource_spans.resource.attributes
        present = {key: value_of(told[key]) for key in wanted.resource_keys if key in told}
        resource = {key: value for key, value in present.items() if value is not None}
        for scope_spans in resource_spans.scope_spans:
            for first in range(0, len(scope_spans.spans), _SPANS_AT_ONCE):
                columns = _WireSpans(scope_spans.spans[first : first + _SPANS_AT_ONCE])
                spans += len(columns.span_id)
                batches += span_batches(resource, scope_spans.scope.name, columns, wanted)
    return Export(batches=tuple(batches), spans=spans, malformed=spans - sum(map(len, batches)))


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

    def attributes(self, keys: tuple[str, ...], rows: Sequence[int]) -> tuple[list[AttributeValue | None], ...]:
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
