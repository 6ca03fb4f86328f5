"""The messages of OTLP in JSON, as a parser that makes nothing else of them reads them.

Every member that the schema has for traces is declared, in camelCase and of the type that senders give it, and no other is allowed: so
nothing is passed over unread, and whatever is parsed here is JSON of this shape to any parser. What is written as an int has at most
64 bits.

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


class ArrayValue(_Message):
    """Values in a row."""

    values: list[AnyValue] | None = None


class KeyValueList(_Message):
    """Values by name."""

    values: list[KeyValue] | None = None


class AnyValue(_Message):
    """The value of an attribute."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Int | str | None = None
    double_value: float | str | None = None
    array_value: ArrayValue | None = None
    kvlist_value: KeyValueList | None = None
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


class Link(_Message):
    """A span that has to do with another."""

    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None
    flags: _Int | None = None


class Status(_Message):
    """How a span ended."""

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
    links: list[Link] | None = None
    dropped_links_count: _Int | None = None
    status: Status | None = None


class InstrumentationScope(_Message):
    """What made spans."""

    name: str = ""
    version: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None


class ScopeSpans(_Message):
    """The spans of one scope."""

    scope: InstrumentationScope | None = None
    spans: list[Span] | None = None
    schema_url: str | None = None


class EntityRef(_Message):
    """What a resource is, by its attributes."""

    schema_url: str | None = None
    type: str | None = None
    id_keys: list[str] | None = None
    description_keys: list[str] | None = None


class Resource(_Message):
    """Who sent them."""

    attributes: list[KeyValue] | None = None
    dropped_attributes_count: _Int | None = None
    entity_refs: list[EntityRef] | None = None


class ResourceSpans(_Message):
    """The spans of one resource."""

    resource: Resource | None = None
    scope_spans: list[ScopeSpans] | None = None
    schema_url: str | None = None


class TracesData(_Message):
    """An export: an ExportTraceServiceRequest has the same members."""

    resource_spans: list[ResourceSpans]


EXPORT_REQUEST = Decoder(TracesData)
"""Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError for what is no such message."""
