"""OTLP's JSON encoding to columns, as senders write it. Pure.

Source: OTLP specification 1.x, "JSON Protobuf Encoding"; ProtoJSON format.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from infermeter.errors import DecodeError
from infermeter.model import Export, SpanBatch, SpanFilter
from infermeter.otlp.columns import Outline, span_batches
from infermeter.otlp.json_spans import JsonSpans
from infermeter.otlp.json_usual import usual_export
from infermeter.otlp.json_values import attributes_in, checked, object_in, objects_in, scalar, text_in

_RESOURCE_SPANS = ("resourceSpans", "resource_spans", "batches")
_SCOPE_SPANS = ("scopeSpans", "scope_spans")


def decode_json(body: bytes, wanted: SpanFilter) -> Export:
    """The spans of one ExportTraceServiceRequest (or TracesData) in JSON, with only what is wanted of them.

    `Export.spans` counts the malformed too.

    Raises:
        DecodeError: no JSON, or not the shape of such a message.
    """
    usual = usual_export(body, wanted)
    return decode_any_json(body, wanted) if usual is None else usual


def decode_any_json(body: bytes, wanted: SpanFilter) -> Export:
    """The same span by span, however it is written.

    Raises:
        DecodeError: as above.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise DecodeError("no JSON") from None
    batches: list[SpanBatch] = []
    outermost: list[bytes] = []
    count = 0
    for resource_spans in objects_in(checked(request, dict, "the export"), *_RESOURCE_SPANS):
        told = attributes_in(object_in(resource_spans, "resource"))
        values = {key: scalar(told[key]) for key in wanted.resource_keys if key in told}
        resource = {key: value for key, value in values.items() if value is not None}
        for scope_spans in objects_in(resource_spans, *_SCOPE_SPANS):
            scope, spans = text_in(object_in(scope_spans, "scope"), "name"), objects_in(scope_spans, "spans")
            if not spans:
                continue
            columns = JsonSpans(spans)
            batches += span_batches(resource, scope, columns, wanted)
            outermost += columns.span_id[0], columns.span_id[-1]
            count += len(spans)
    first_and_last = (outermost[0], outermost[-1]) if outermost else (b"", b"")
    return Export(batches=tuple(batches), spans=count, malformed=count - sum(map(len, batches)), outermost=first_and_last)


def outlined_json(body: bytes) -> Iterator[Outline]:
    """The outlines of the spans of an export that `decode_json` takes.

    Raises:
        DecodeError: what wasn't wanted there, and is looked at here, has the wrong type.
    """
    for resource_spans in objects_in(orjson.loads(body), *_RESOURCE_SPANS):
        for scope_spans in objects_in(resource_spans, *_SCOPE_SPANS):
            columns = JsonSpans(spans := objects_in(scope_spans, "spans"))
            scope = text_in(object_in(scope_spans, "scope"), "name")
            for row, span in enumerate(spans):
                keys, events = tuple(attributes_in(span)), tuple(text_in(event, "name") for event in objects_in(span, "events"))
                yield Outline(columns.trace_id[row], columns.span_id[row], scope, columns.name[row], columns.kind[row], keys, events)
