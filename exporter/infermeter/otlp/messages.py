"""The messages of OTLP, trimmed to the fields that are read here and built at import in a descriptor pool of their own.

Two declarations differ from the published schema and are wire-compatible with it. Attributes are a map: a repeated message with
fields `key = 1` and `value = 2` is what a map is on the wire, so that a lookup by key runs in C, and the last of two equal keys
wins. Their values are `bytes`: an attribute that no rule reads is never taken apart. In a RawExportRequest the spans are `bytes` too.
Of a StrictExportRequest every value of an attribute is taken apart, so that what it parses the others never fail over. In a
PooledExportRequest whatever is no repeated message is `bytes`, which may be compared, and repeated: to join them is to merge them.

Source: opentelemetry-proto 1.x, trace/v1/trace.proto, common/v1/common.proto, collector/trace/v1/trace_service.proto; googleapis,
google/rpc/status.proto, google/rpc/error_details.proto; protobuf encoding guide, "Maps".
"""

from __future__ import annotations

from typing import Any, TypeAlias

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

Message: TypeAlias = Any
"""A message class of a run-time schema, or an instance of one: nothing static can be said about its fields."""

_PACKAGE = "infermeter"
_ATTRIBUTES = "map<string, bytes>"
_EVERY_VALUE = "repeated KeyValue"
_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
}
_SPAN = {
    "trace_id": (1, "bytes"),
    "span_id": (2, "bytes"),
    "parent_span_id": (4, "bytes"),
    "name": (5, "string"),
    "kind": (6, "int32"),
    "start_time_unix_nano": (7, "fixed64"),
    "end_time_unix_nano": (8, "fixed64"),
    "attributes": (9, _ATTRIBUTES),
    "events": (11, "repeated Event"),
    "status": (15, "SpanStatus"),
}
_SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "Event": {"time_unix_nano": (1, "fixed64"), "name": (2, "string")},
    "SpanStatus": {"code": (3, "int32")},
    "Span": _SPAN,
    "Scope": {"name": (1, "string")},
    "ScopeSpans": {"scope": (1, "Scope"), "spans": (2, "repeated Span")},
    "Resource": {"attributes": (1, _ATTRIBUTES)},
    "ResourceSpans": {"resource": (1, "Resource"), "scope_spans": (2, "repeated ScopeSpans")},
    "ExportRequest": {"resource_spans": (1, "repeated ResourceSpans")},
    "RawScopeSpans": {"scope": (1, "Scope"), "spans": (2, "repeated bytes")},
    "RawResourceSpans": {"resource": (1, "Resource"), "scope_spans": (2, "repeated RawScopeSpans")},
    "RawExportRequest": {"resource_spans": (1, "repeated RawResourceSpans")},
    "KeyValue": {"key": (1, "string"), "value": (2, "AnyValue")},
    "StrictSpan": _SPAN | {"attributes": (9, _EVERY_VALUE)},
    "StrictScopeSpans": {"scope": (1, "Scope"), "spans": (2, "repeated StrictSpan")},
    "StrictResource": {"attributes": (1, _EVERY_VALUE)},
    "StrictResourceSpans": {"resource": (1, "StrictResource"), "scope_spans": (2, "repeated StrictScopeSpans")},
    "StrictExportRequest": {"resource_spans": (1, "repeated StrictResourceSpans")},
    "PooledScopeSpans": {"scope": (1, "repeated bytes"), "spans": (2, "repeated bytes")},
    "PooledResourceSpans": {"resource": (1, "repeated bytes"), "scope_spans": (2, "repeated PooledScopeSpans")},
    "PooledExportRequest": {"resource_spans": (1, "repeated PooledResourceSpans")},
    "PartialSuccess": {"rejected_spans": (1, "int64"), "error_message": (2, "string")},
    "ExportResponse": {"partial_success": (1, "PartialSuccess")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "Status": {"code": (1, "int32"), "message": (2, "string"), "details": (3, "repeated Any")},
    "Duration": {"seconds": (1, "int64")},
    "RetryInfo": {"retry_delay": (1, "Duration")},
}
_VALUES = {"string_value": (1, "string"), "bool_value": (2, "bool"), "int_value": (3, "int64"), "double_value": (4, "double")}


def _add_field(message: DescriptorProto, name: str, number: int, kind: str) -> None:
    """Adds one field; `kind` is a scalar, a message's name, either after `repeated`, or the map of attributes."""
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind == _ATTRIBUTES:
        entry = message.nested_type.add(name="AttributesEntry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, "bytes")
        kind = f"repeated {message.name}.AttributesEntry"
    if kind.startswith("repeated "):
        field.label = FieldDescriptorProto.LABEL_REPEATED
        kind = kind.removeprefix("repeated ")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _pool() -> DescriptorPool:
    """A pool with every message of the schema."""
    file = FileDescriptorProto(name="infermeter/otlp.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    value = file.message_type.add(name="AnyValue")
    value.oneof_decl.add(name="value")
    for field, (number, kind) in _VALUES.items():
        _add_field(value, field, number, kind)
        value.field[-1].oneof_index = 0
    pool = DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _pool()


def _message(name: str) -> Message:
    """The class of one message of the schema."""
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


EXPORT_REQUEST = _message("ExportRequest")
RAW_EXPORT_REQUEST = _message("RawExportRequest")
RAW_SCOPE_SPANS = _message("RawScopeSpans")
STRICT_EXPORT_REQUEST = _message("StrictExportRequest")
POOLED_EXPORT_REQUEST = _message("PooledExportRequest")
SCOPE = _message("Scope")
SCOPE_SPANS = _message("ScopeSpans")
RESOURCE = _message("Resource")
SPAN = _message("Span")
EXPORT_RESPONSE = _message("ExportResponse")
ANY_VALUE = _message("AnyValue")
STATUS = _message("Status")
RETRY_INFO = _message("RetryInfo")
