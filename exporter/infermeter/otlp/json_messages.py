"""The messages of OTLP in JSON, as a parser that makes nothing else of them reads them.

Every member that the schema has is declared, in camelCase and of the type that senders give it, and no other is allowed: so nothing is
passed over unread, and whatever is parsed here is JSON of this shape to any parser. Where an int is written, it has 64 bits at most.

Source: opentelemetry-proto 1.x, trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto; OTLP specification 1.x,
"JSON Protobuf Encoding"; ProtoJSON format.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct
from msgspec.json import Decoder

_Int: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class _Message(Struct, eq=False, gc=False, forbid_unknown_fields=True, rename="camel"):
    """Holds no message that holds it, so the garbage collector needn't look at it."""


class _ArrayValue(_Message):
    values: list[AnyValue] | None = None


class _KeyValueList(_Message):
    values: list[KeyValue] | None = None


class AnyValue(_Message):
    """The value of an attribute."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Int | str | None = None
    double_value: float | str | None = None
    array_value: _ArrayValue | None = None
    kvlist_value: _KeyValueList | None = None
    bytes_value: str | None = None


class KeyValue(_Message):
    """An attribute."""

    key: str = ""
    value: AnyValue | None = None


class Event(_Message):
    """Something that happened within a span."""

    time_unix_nano: _Int | str | None = None
    name: str = ""
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None


class _Link(_Message):
    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None
    flags: _Int | None = None


class _Status(_Message):
    message: str | None = None
    code: _Int | str | None = None


class Span(_Message):
    """A span."""

    trace_id: str = ""
    span_id: str = ""
    trace_state: str | None = None
    parent_span_id: str = ""
    flags: _Int | None = None
    name: str = ""
    kind: _Int | str | None = None
    start_time_unix_nano: _Int | str | None = None
    end_time_unix_nano: _Int | str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None
    events: list[Event] | None = None
    dropped_events_count: _Int | None = None
    links: list[_Link] | None = None
    dropped_links_count: _Int | None = None
    status: _Status | None = None


class _Scope(_Message):
    name: str = ""
    version: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None


class _ScopeSpans(_Message):
    scope: _Scope | None = None
    spans: list[Span] | None = None
    schema_url: str | None = None


class _Resource(_Message):
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None


class _ResourceSpans(_Message):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None
    schema_url: str | None = None


class _ExportRequest(_Message):
    resource_spans: list[_ResourceSpans]


EXPORT_REQUEST = Decoder(_ExportRequest)
"""Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError for what is no such message."""
