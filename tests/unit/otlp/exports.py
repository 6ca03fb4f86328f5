"""Requests to decode, written with the published protobuf schema, and a filter that wants something of them."""

from collections.abc import Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from infermeter.model import AttributeValue, Layout

TRACE = bytes(range(1, 17))
SPAN = bytes(range(1, 9))
PARENT = bytes(range(2, 10))
START_NS = 1_790_000_000_000_000_000
END_NS = START_NS + 250_000_000


class Wanted:
    """A filter with a fixed layout for some span names and one that wants nothing for all others."""

    def __init__(self, layouts: Mapping[str, Layout] | None = None, *, resource_keys: tuple[str, ...] = ()) -> None:
        self.resource_keys = frozenset(resource_keys)
        self.asked: list[tuple[str, str]] = []
        self.nothing = Layout((), events=False)
        self._layouts = dict(layouts or {})

    def layout(self, scope: str, name: str, /) -> Layout:
        self.asked.append((scope, name))
        return self._layouts.get(name, self.nothing)


def wants(*keys: str, events: bool = False, name: str = "llm_request") -> Wanted:
    return Wanted({name: Layout(keys, events=events)})


def key_value(key: str, value: AttributeValue | AnyValue) -> KeyValue:
    if isinstance(value, AnyValue):
        return KeyValue(key=key, value=value)
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(double_value=value))


def span(number: int = 0, attributes: Mapping[str, AttributeValue | AnyValue] | None = None, **fields: object) -> Span:
    """A valid span; `number` makes its id another one."""
    defaults: dict[str, object] = {
        "trace_id": TRACE,
        "span_id": (int.from_bytes(SPAN) + number).to_bytes(8),
        "name": "llm_request",
        "kind": 2,
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": END_NS,
        "attributes": [key_value(key, value) for key, value in (attributes or {}).items()],
    }
    return Span(**(defaults | fields))


def request(
    *spans: Span, scope: str = "scope", resource: Mapping[str, AttributeValue | AnyValue] | None = None
) -> ExportTraceServiceRequest:
    """One resource with one scope that holds these spans."""
    export = ExportTraceServiceRequest()
    told = export.resource_spans.add()
    told.resource.attributes.extend(key_value(key, value) for key, value in (resource or {}).items())
    scoped = ScopeSpans(spans=spans)
    scoped.scope.name = scope
    told.scope_spans.append(scoped)
    return export


def body(*spans: Span, scope: str = "scope", resource: Mapping[str, AttributeValue | AnyValue] | None = None) -> bytes:
    return request(*spans, scope=scope, resource=resource).SerializeToString()
