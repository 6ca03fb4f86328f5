import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from infermeter.errors import DecodeError
from infermeter.forward.reencoding import reencoded
from infermeter.otlp.json import decode_json
from unit.otlp.exports import PARENT, SPAN, START_NS, TRACE, key_value, request, span, wants

CAPTURES = Path(__file__).parents[2] / "captures"


def as_json(export: ExportTraceServiceRequest, *, snake: bool = False) -> bytes:
    """OTLP's JSON of a message: what protobuf writes, ids in hex."""

    def hexed(value: Any) -> Any:
        if isinstance(value, list):
            return [hexed(each) for each in value]
        if not isinstance(value, dict):
            return value
        ids = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}
        return {key: b64decode(each).hex() if key in ids else hexed(each) for key, each in value.items()}

    return json.dumps(hexed(MessageToDict(export, preserving_proto_field_name=snake, use_integers_for_enums=True))).encode()


def full() -> ExportTraceServiceRequest:
    """A request with every field that the schema has."""
    link = Span.Link(
        trace_id=TRACE[::-1], span_id=SPAN[::-1], trace_state="a=b", attributes=[key_value("l", 1)], dropped_attributes_count=1, flags=257
    )
    event = Span.Event(time_unix_nano=START_NS + 1, name="first_token", attributes=[key_value("e", 0.5)], dropped_attributes_count=2)
    nested = AnyValue(kvlist_value=KeyValueList(values=[key_value("k", AnyValue(bytes_value=b"\x00\xff"))]))
    attributes = {
        "text": "\u00e4\u2603 ok",
        "yes": True,
        "big": 2**62,
        "negative": -5,
        "half": 0.5,
        "list": AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), nested])),
        "nothing": AnyValue(),
    }
    whole = span(
        1,
        attributes,
        trace_state="vendor=1",
        parent_span_id=PARENT,
        flags=257,
        dropped_attributes_count=1,
        events=[event],
        dropped_events_count=2,
        links=[link],
        dropped_links_count=3,
        status=Status(code=2, message="why"),
    )
    export = request(whole, span(2), resource={"service.name": "chat"})
    told = export.resource_spans[0]
    told.schema_url = "https://opentelemetry.io/schemas/1.30.0"
    told.resource.dropped_attributes_count = 4
    told.scope_spans[0].scope.version = "1.2"
    told.scope_spans[0].scope.attributes.append(key_value("s", "x"))
    told.scope_spans[0].schema_url = "https://opentelemetry.io/schemas/1.31.0"
    export.resource_spans.add().scope_spans.add().spans.append(span(3))
    return export


@pytest.mark.parametrize("snake", [False, True], ids=["camel", "snake"])
def test_everything_that_the_schema_knows_is_kept(snake: bool) -> None:
    message, spans = reencoded(as_json(full(), snake=snake))
    assert ExportTraceServiceRequest.FromString(message) == full()
    assert spans == 3


def test_a_span_that_does_not_fit_costs_no_other() -> None:
    told = json.loads(as_json(full()))
    told["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append({"key": "b", "value": {"intValue": "x"}})
    message, spans = reencoded(json.dumps(told).encode())
    assert spans == 2
    kept = [scoped.spans[0] for told in ExportTraceServiceRequest.FromString(message).resource_spans for scoped in told.scope_spans]
    assert [each.span_id for each in kept] == [span(2).span_id, span(3).span_id]


@pytest.mark.parametrize("where", ["resource", "scope"])
def test_spans_of_what_does_not_fit_are_left_out(where: str) -> None:
    told = json.loads(as_json(full()))
    first = told["resourceSpans"][0]
    (first if where == "resource" else first["scopeSpans"][0])[where]["attributes"] = [{"key": "a", "value": {"intValue": "x"}}]
    assert reencoded(json.dumps(told).encode())[1] == 1


def test_what_the_schema_does_not_know_and_ids_that_are_none_are_left_out() -> None:
    odd = {"spanId": SPAN.hex().upper(), "traceId": "no hex", "later": {"a": 1}, "links": [{"spanId": 5}]}
    told = {"resourceSpans": None, "resource_spans": None, "batches": [{"later": 1, "scopeSpans": [{"spans": [odd]}]}]}
    message, spans = reencoded(json.dumps(told).encode())
    (got,) = ExportTraceServiceRequest.FromString(message).resource_spans[0].scope_spans[0].spans
    assert (spans, got.span_id, got.trace_id, len(got.links)) == (1, SPAN, b"", 1)


@pytest.mark.parametrize("depth", [50, 200])
def test_a_value_that_is_nested_too_deep_costs_its_span_alone(depth: int) -> None:
    told = json.loads(as_json(full()))
    value: Any = {"intValue": "1"}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    told["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["attributes"] = [{"key": "deep", "value": value}]
    body = json.dumps(told).encode()
    assert decode_json(body, wants()).spans == 3
    assert reencoded(body)[1] == 2


def test_nothing_comes_of_what_was_broken_off() -> None:
    assert reencoded(as_json(full()), broken_off=lambda: True) == (b"", 0)


@pytest.mark.parametrize("path", sorted((CAPTURES / "triton").glob("00?.json")), ids=lambda path: path.stem)
def test_a_real_servers_json_loses_no_span(path: Path) -> None:
    body = path.read_bytes()
    export = decode_json(body, wants())
    message, spans = reencoded(body)
    assert spans == export.spans
    first = ExportTraceServiceRequest.FromString(message).resource_spans[0].scope_spans[0].spans[0]
    assert first.span_id == export.outermost[0]
    assert str(first.start_time_unix_nano) in body.decode()
    assert len(first.attributes) + len(first.events) > 0


_KEYS = st.sampled_from(("key", "value", "stringValue", "intValue", "values"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=6,
)


def mutated(value: Any, where: int, by: Any) -> Any:
    """A copy of a document in which what comes at this place, counted in depth, is another value."""
    count = -1

    def copied(each: Any) -> Any:
        nonlocal count
        count += 1
        if count == where:
            return by
        if isinstance(each, dict):
            return {key: copied(below) for key, below in each.items()}
        return [copied(below) for below in each] if isinstance(each, list) else each

    return copied(value)


@given(st.booleans(), st.lists(st.tuples(st.integers(0, 130), JSON), min_size=1, max_size=3))
def test_whatever_is_decoded_can_be_encoded_at_least_in_part(snake: bool, changes: list[tuple[int, Any]]) -> None:
    told = json.loads(as_json(full(), snake=snake))
    for where, by in changes:
        told = mutated(told, where, by)
    body = json.dumps(told).encode()
    try:
        export = decode_json(body, wants())
    except DecodeError:
        return
    message, spans = reencoded(body)
    request = ExportTraceServiceRequest.FromString(message)
    assert spans == sum(len(scoped.spans) for part in request.resource_spans for scoped in part.scope_spans) <= export.spans
