"""An export in OTLP's JSON to protobuf, with everything that the published schema knows. Pure, and slow, as protobuf's JSON reader is.

Each span is read by itself, so that one that can't be read costs no other. That reader takes ids for base64, hence they are rewritten.

Source: OTLP specification 1.x, "JSON Protobuf Encoding"; ProtoJSON format.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

_M = TypeVar("_M", bound=Message)

_IDS = ("traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id")


def reencoded(body: bytes, *, broken_off: Callable[[], bool] = lambda: False) -> tuple[bytes, int]:
    """The export that `body` holds, which was decoded before, as a serialised ExportTraceServiceRequest, and how many spans are in it.

    What the schema doesn't know, and spans that don't fit it, are left out. Nothing comes any more once it is `broken_off`.
    """
    request = ExportTraceServiceRequest()
    spans = 0
    for told in _members(orjson.loads(body), "resourceSpans", "resource_spans", "batches"):
        resource_spans = _read(told, ResourceSpans(), without=("scopeSpans", "scope_spans"))
        for scoped in _members(told, "scopeSpans", "scope_spans"):
            scope_spans = _read(scoped, ScopeSpans(), without=("spans",))
            for span in _members(scoped, "spans"):
                if broken_off():
                    return b"", 0
                if resource_spans is not None and scope_spans is not None and (read := _read_span(span)) is not None:
                    scope_spans.spans.append(read)
                    spans += 1
            if resource_spans is not None and scope_spans is not None:
                resource_spans.scope_spans.append(scope_spans)
        if resource_spans is not None:
            request.resource_spans.append(resource_spans)
    return request.SerializeToString(), spans


def _read(told: Mapping[str, Any], message: _M, *, without: tuple[str, ...] = ()) -> _M | None:
    """The message, filled; None: it doesn't fit."""
    try:
        return ParseDict({key: value for key, value in told.items() if key not in without}, message, ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, AttributeError):
        return None


def _read_span(told: Mapping[str, Any]) -> Span | None:
    rewritten = dict(_with_ids(told))
    if isinstance(links := rewritten.get("links"), list):
        rewritten["links"] = [dict(_with_ids(link)) if isinstance(link, dict) else link for link in links]
    return _read(rewritten, Span())


def _with_ids(told: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The members, ids in base64; one that is no hex stays, and doesn't fit or is another id, which nobody has sent: it is left out."""
    for key, value in told.items():
        if key not in _IDS or value is None:
            yield key, value
        elif isinstance(value, str):
            try:
                yield key, b64encode(bytes.fromhex(value)).decode()
            except ValueError:
                continue


def _members(parent: Mapping[str, Any], *names: str) -> list[Mapping[str, Any]]:
    """The first list of these names that is set."""
    return next((parent[name] for name in names if parent.get(name) is not None), [])
