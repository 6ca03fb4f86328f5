"""Both encodings of one request give the same columns, and no bytes whatever give anything but an export or a DecodeError."""

import json
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from infermeter.errors import DecodeError
from infermeter.model import Export, Layout, SpanFilter
from infermeter.otlp.json import decode_json
from infermeter.otlp.protobuf import decode_protobuf
from support import span_rows
from unit.otlp.exports import Wanted, body, span

KEYS = ("model", "tokens", "seconds", "ok")
NAMES = ("llm_request", "compute", "other")
WANTED = Wanted(
    {"llm_request": Layout(KEYS, events=False), "compute": Layout(KEYS[:1], events=True)},
    resource_keys=("service.name", "model"),
)

texts = st.text(max_size=8)
int64s = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2000)
values = st.one_of(
    st.builds(lambda x: AnyValue(string_value=x), texts),
    st.builds(lambda x: AnyValue(bool_value=x), st.booleans()),
    st.builds(lambda x: AnyValue(int_value=x), int64s),
    st.builds(lambda x: AnyValue(double_value=x), st.floats(allow_nan=False)),
    st.builds(AnyValue),
    st.builds(lambda x: AnyValue(array_value={"values": [AnyValue(string_value=x)]}), texts),
)
attributes = st.lists(
    st.builds(lambda k, v: KeyValue(key=k, value=v), st.sampled_from((*KEYS, "service.name", "prompt")), values), max_size=6
)
trace_ids = st.binary(min_size=16, max_size=16) | st.sampled_from((b"", bytes(16), b"short"))
span_ids = st.binary(min_size=8, max_size=8) | st.sampled_from((b"", bytes(8), b"longer than 8"))
instants = st.integers(1, 4 * 10**18) | st.sampled_from((0, 1, 2**63 - 1, 2**63, 2**64 - 1))
events = st.lists(st.builds(lambda n, t: Span.Event(name=n, time_unix_nano=t), texts, instants), max_size=3)
spans = st.builds(
    lambda t, s, p, n, k, c, b, e, a, v: Span(
        trace_id=t,
        span_id=s,
        parent_span_id=p,
        name=n,
        kind=k,
        status=Status(code=c),
        start_time_unix_nano=b,
        end_time_unix_nano=e,
        attributes=a,
        events=v,
    ),
    trace_ids,
    span_ids,
    span_ids,
    st.sampled_from(NAMES),
    st.integers(0, 5),
    st.integers(0, 2),
    instants,
    instants,
    attributes,
    events,
)
scopes = st.builds(lambda n, s: {"scope": {"name": n}, "spans": s}, texts, st.lists(spans, max_size=5))
resources = st.builds(lambda a, s: {"resource": {"attributes": a}, "scope_spans": s}, attributes, st.lists(scopes, max_size=3))
requests = st.builds(lambda r: ExportTraceServiceRequest(resource_spans=r), st.lists(resources, max_size=3))


def json_of(request: ExportTraceServiceRequest, *, snake: bool, upper: bool, numbers: bool) -> bytes:
    """The request as some sender would write it in JSON."""

    def key(camel: str) -> str:
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in camel) if snake else camel

    def hexed(raw: bytes) -> str:
        return raw.hex().upper() if upper else raw.hex()

    def integer(value: int) -> int | str:
        return value if numbers else str(value)

    def told(value: AnyValue) -> dict[str, object]:
        match value.WhichOneof("value"):
            case "string_value":
                return {key("stringValue"): value.string_value}
            case "bool_value":
                return {key("boolValue"): value.bool_value}
            case "int_value":
                return {key("intValue"): integer(value.int_value)}
            case "double_value":
                number = value.double_value
                infinite = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
                return {key("doubleValue"): infinite.get(number, number)}
            case "array_value":
                return {key("arrayValue"): {"values": []}}
            case _:
                return {}

    def listed(attributes: list[KeyValue]) -> list[dict[str, object]]:
        return [{"key": a.key, "value": told(a.value)} for a in attributes]

    def written(span: Span) -> dict[str, object]:
        return {
            key("traceId"): hexed(span.trace_id),
            key("spanId"): hexed(span.span_id),
            **({key("parentSpanId"): hexed(span.parent_span_id)} if span.parent_span_id else {}),
            "name": span.name,
            "kind": span.kind if numbers else Span.SpanKind.Name(span.kind),
            "status": {"code": span.status.code if numbers else Status.StatusCode.Name(span.status.code)},
            key("startTimeUnixNano"): integer(span.start_time_unix_nano),
            key("endTimeUnixNano"): integer(span.end_time_unix_nano),
            "attributes": listed(list(span.attributes)),
            "events": [{"name": event.name, key("timeUnixNano"): integer(event.time_unix_nano)} for event in span.events],
        }

    return json.dumps(
        {
            key("resourceSpans"): [
                {
                    "resource": {"attributes": listed(list(of_resource.resource.attributes))},
                    key("scopeSpans"): [
                        {"scope": {"name": scoped.scope.name}, "spans": [written(span) for span in scoped.spans]}
                        for scoped in of_resource.scope_spans
                    ],
                }
                for of_resource in request.resource_spans
            ]
        }
    ).encode()


def columns(export: Export) -> tuple[object, ...]:
    """An export as plain values that compare, with the type of each attribute's value."""
    return export.spans, export.malformed, [(batch.layout, span_rows.rows(batch)) for batch in export.batches]


@settings(max_examples=150, deadline=None)
@given(request=requests, snake=st.booleans(), upper=st.booleans(), numbers=st.booleans())
def test_both_encodings_of_a_request_give_equal_columns(
    request: ExportTraceServiceRequest, *, snake: bool, upper: bool, numbers: bool
) -> None:
    from_json = decode_json(json_of(request, snake=snake, upper=upper, numbers=numbers), WANTED)
    assert columns(from_json) == columns(decode_protobuf(request.SerializeToString(), WANTED))


@settings(max_examples=100, deadline=None)
@given(request=requests)
def test_every_span_is_in_a_batch_or_malformed_and_every_column_has_its_length(request: ExportTraceServiceRequest) -> None:
    export = decode_protobuf(request.SerializeToString(), WANTED)
    assert export.spans == export.malformed + sum(map(len, export.batches))
    for batch in export.batches:
        assert len(batch) >= 1
        assert {len(column) for column in (batch.trace_id, batch.kind, batch.start_ns, *span_rows.attributes(batch))} == {len(batch)}
        assert all(start <= end for start, end in zip(batch.start_ns, batch.end_ns, strict=True))


def an_export_or_a_decode_error(decode: Callable[[bytes, SpanFilter], Export], raw: bytes) -> bool:
    try:
        return isinstance(decode(raw, WANTED), Export)
    except DecodeError:
        return True


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200))
def test_random_bytes_are_an_export_or_a_decode_error(raw: bytes) -> None:
    assert an_export_or_a_decode_error(decode_protobuf, raw)
    assert an_export_or_a_decode_error(decode_json, raw)


VALID = body(
    span(1, {"model": "m", "tokens": 500, "seconds": 0.5, "ok": True}),
    span(2, name="compute", events=[Span.Event(name="e", time_unix_nano=9)]),
)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(VALID) - 1), put=st.binary(max_size=3), cut=st.integers(0, 3))
def test_a_damaged_request_is_an_export_or_a_decode_error(at: int, put: bytes, cut: int) -> None:
    assert an_export_or_a_decode_error(decode_protobuf, VALID[:at] + put + VALID[at + cut :])


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "resource",
                    "scope",
                    "attributes",
                    "key",
                    "value",
                    "intValue",
                    "doubleValue",
                    "events",
                    "status",
                    "code",
                    "name",
                    "traceId",
                    "spanId",
                    "parentSpanId",
                    "kind",
                    "startTimeUnixNano",
                    "endTimeUnixNano",
                    "timeUnixNano",
                    "stringValue",
                )
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    span_like=st.dictionaries(st.sampled_from(("name", "traceId", "kind", "status", "attributes", "events", "endTimeUnixNano")), documents),
    other=documents,
)
def test_json_of_any_shape_is_an_export_or_a_decode_error(span_like: dict[str, object], other: object) -> None:
    for document in (
        other,
        {"resourceSpans": other},
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "llm_request"} | span_like]}]}]},
    ):
        assert an_export_or_a_decode_error(decode_json, json.dumps(document).encode())
