import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from infermeter.errors import DecodeError
from infermeter.model import AttributeValue
from infermeter.otlp.json import decode_json, outlined_json
from support import span_rows
from unit.otlp.exports import END_NS, PARENT, SPAN, START_NS, TRACE, Wanted, wants

CAPTURES = Path(__file__).parents[2] / "captures"
SPAN_KEYS = {
    "traceId": TRACE.hex(),
    "spanId": SPAN.hex(),
    "name": "llm_request",
    "startTimeUnixNano": str(START_NS),
    "endTimeUnixNano": str(END_NS),
}


def export(*spans: object, scope: object = None, resource: object = None) -> bytes:
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}).encode()


def value_of(value: object) -> AttributeValue | None:
    """What becomes of one attribute's value."""
    attributes = [{"key": "other"}, {"key": "key", "value": value}]
    (batch,) = decode_json(export(SPAN_KEYS | {"attributes": attributes}), wants("key")).batches
    return span_rows.attributes(batch)[0][0]


def with_key(path: Mapping[str, object]) -> bytes:
    return export(SPAN_KEYS | path)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"resourceSpans":null}', b'{"resourceSpans":[]}', b'{"resourceSpans":[{}]}', b'{"resourceMetrics":[{}]}']
)
def test_an_export_without_spans_is_empty(body: bytes) -> None:
    assert decode_json(body, wants()).spans == 0


def test_a_span_is_read_field_by_field() -> None:
    events = [{"name": "first_token", "timeUnixNano": str(START_NS + 5)}, {"name": "no time"}]
    sent = SPAN_KEYS | {"parentSpanId": PARENT.hex(), "kind": 2, "status": {"code": 2}, "events": events}
    decoded = decode_json(export(sent, scope={"name": "triton-server"}), wants(events=True))
    (batch,) = decoded.batches
    assert (decoded.spans, decoded.malformed, batch.scope) == (1, 0, "triton-server")
    assert [span_rows.ids(one) for one in (batch.trace_id, batch.span_id, batch.parent_id)] == [[TRACE], [SPAN], [PARENT]]
    assert (batch.kind[0], batch.status[0]) == (2, 2)
    assert (batch.start_ns[0], batch.end_ns[0]) == (START_NS, END_NS)
    assert span_rows.events(batch) == [[("first_token", START_NS + 5)]]


@pytest.mark.parametrize("root", ["resourceSpans", "resource_spans", "batches"])
def test_snake_case_and_old_names_are_read_alike(root: str) -> None:
    sent = {
        "trace_id": TRACE.hex(),
        "span_id": SPAN.hex(),
        "parent_span_id": PARENT.hex(),
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": END_NS,
        "attributes": [{"key": "key", "value": {"string_value": "text"}}],
        "events": [{"time_unix_nano": START_NS}],
    }
    body = json.dumps({root: [{"scope_spans": [{"spans": [sent]}]}]}).encode()
    (batch,) = decode_json(body, wants("key", events=True, name="")).batches
    assert (span_rows.ids(batch.trace_id), span_rows.ids(batch.parent_id), batch.start_ns[0]) == ([TRACE], [PARENT], START_NS)
    assert span_rows.attributes(batch) == [["text"]]
    assert span_rows.events(batch) == [[("", START_NS)]]


def test_ids_are_hex_of_either_case() -> None:
    (batch,) = decode_json(with_key({"traceId": "ABCDEFabcdef00112233445566778899"}), wants()).batches
    assert span_rows.ids(batch.trace_id) == [bytes.fromhex("abcdefabcdef00112233445566778899")]


@pytest.mark.parametrize(
    "fault",
    [
        {"traceId": "AQIDBAUGBwgJCgsMDQ4PEA=="},  # base64, as protobuf's own JSON writes ids
        {"spanId": "AQIDBAUGBwg="},
        {"spanId": "ABEiM0RVZnc="},
        {"parentSpanId": "AgMEBQYHCAk="},
        {"parentSpanId": 12},
        {"traceId": None},
        {"traceId": 5},
        {"traceId": "00" * 16},
        {"spanId": "zz"},
        {"spanId": []},
        {"startTimeUnixNano": "yesterday"},
        {"startTimeUnixNano": True},
        {"startTimeUnixNano": 1.5},
        {"startTimeUnixNano": {}},
        {"endTimeUnixNano": None},
        {"endTimeUnixNano": "9" * 5000},
        {"endTimeUnixNano": START_NS - 1},
        {"endTimeUnixNano": 2**63},
    ],
)
def test_an_unfit_id_or_time_makes_its_span_malformed(fault: dict[str, object]) -> None:
    decoded = decode_json(export(SPAN_KEYS, SPAN_KEYS | fault), wants())
    assert (decoded.spans, decoded.malformed) == (2, 1)


def test_a_time_may_be_written_as_a_float() -> None:
    (batch,) = decode_json(with_key({"startTimeUnixNano": 1.7e18, "endTimeUnixNano": 1.7e18}), wants()).batches
    assert batch.start_ns == [1_700_000_000_000_000_000]


@pytest.mark.parametrize(("written", "kind"), [(3, 3), ("3", 3), ("SPAN_KIND_CLIENT", 3), (99, 0), (-1, 0), ("NEW", 0), (None, 0), ({}, 0)])
def test_a_kind_is_a_number_or_a_name(written: object, kind: int) -> None:
    (batch,) = decode_json(with_key({"kind": written}), wants()).batches
    assert batch.kind == [kind]


@pytest.mark.parametrize(("written", "status"), [({"code": 2}, 2), ({"code": "STATUS_CODE_OK"}, 1), ({}, 0), (None, 0), ({"code": 7}, 0)])
def test_a_status_is_a_number_or_a_name(written: object, status: int) -> None:
    (batch,) = decode_json(with_key({"status": written}), wants()).batches
    assert batch.status == [status]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ({"stringValue": "text"}, "text"),
        ({"stringValue": ""}, ""),
        ({"stringValue": 5}, None),
        ({"boolValue": False}, False),
        ({"boolValue": "false"}, None),
        ({"intValue": "0"}, 0),
        ({"intValue": -5}, -5),
        ({"intValue": "9223372036854775807"}, 2**63 - 1),
        ({"intValue": "9223372036854775808"}, None),
        ({"intValue": 2**64}, None),
        ({"intValue": "many"}, None),
        ({"intValue": 1.5}, None),
        ({"intValue": True}, None),
        ({"int_value": "7"}, 7),
        ({"doubleValue": 0}, 0.0),
        ({"doubleValue": 1.25}, 1.25),
        ({"doubleValue": "Infinity"}, float("inf")),
        ({"doubleValue": "-Infinity"}, float("-inf")),
        ({"doubleValue": "wide"}, None),
        ({"doubleValue": False}, None),
        ({"doubleValue": []}, None),
        ({"stringValue": None, "intValue": 3}, 3),
        ({"stringValue": "text", "intValue": "3"}, 3),
        ({"int_value": "3", "boolValue": True}, True),
        ({"arrayValue": {"values": []}}, None),
        ({"kvlistValue": {}}, None),
        ({"bytesValue": "AA=="}, None),
        ({}, None),
        (None, None),
        ("bare", None),
    ],
)
def test_a_value_keeps_its_type_or_is_absent(written: object, value: AttributeValue | None) -> None:
    told = value_of(written)
    assert told == value
    assert type(told) is type(value)


def test_nan_is_a_number_in_a_string() -> None:
    told = value_of({"doubleValue": "NaN"})
    assert isinstance(told, float)
    assert told != told  # noqa: PLR0124 - what NaN is


def test_only_wanted_resource_attributes_are_read() -> None:
    attributes = [{"key": "service.name", "value": {"stringValue": "chat"}}, {"key": "host.name", "value": {"arrayValue": {}}}]
    wanted = Wanted(resource_keys=("service.name", "host.name", "other"))
    (batch,) = decode_json(export(SPAN_KEYS, resource={"attributes": attributes}), wanted).batches
    assert dict(batch.resource) == {"service.name": "chat"}


def test_of_two_equal_keys_the_last_wins() -> None:
    attributes = [{"key": "key", "value": {"intValue": number}} for number in (1, 2)]
    (batch,) = decode_json(with_key({"attributes": attributes}), wants("key")).batches
    assert span_rows.attributes(batch) == [[2]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b'{"resourceSpans":[',
        b"[]",
        b"null",
        b'"text"',
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":[1]}',
        b'{"resourceSpans":[{"resource":[]}]}',
        b'{"resourceSpans":[{"resource":{"attributes":5}}]}',
        b'{"resourceSpans":[{"resource":{"attributes":["a"]}}]}',
        b'{"resourceSpans":[{"resource":{"attributes":[{"key":5}]}}]}',
        b'{"resourceSpans":[{"scopeSpans":"none"}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"scope":5}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[[]]}]}]}',
        b"\xff\xfe{}",
        b"[" * 5000,
    ],
)
def test_what_has_not_the_shape_of_an_export_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_json(body, wants())


@pytest.mark.parametrize(
    "fault",
    [
        {"name": 5},
        {"status": []},
        {"attributes": {}},
        {"attributes": [5]},
        {"events": "none"},
        {"events": [None]},
        {"events": [{"name": []}]},
    ],
)
def test_a_span_with_a_wrong_type_refuses_the_export_without_a_word_of_its_content(fault: dict[str, object]) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_json(with_key({"traceState": "secret"} | fault), wants("key", events=True))
    assert "secret" not in str(refused.value)


def test_what_triton_sent_is_read_whole() -> None:
    wanted = wants("triton.request_id", events=True, name="mlp")
    exports = [decode_json(path.read_bytes(), wanted) for path in sorted((CAPTURES / "triton").glob("*.json")) if path.stem.isdigit()]
    assert [export.spans for export in exports] == [36, 512, 4, 438]
    assert sum(export.malformed for export in exports) == 0
    models = [batch for export in exports for batch in export.batches if batch.layout.keys]
    assert sum(map(len, models)) == 330
    assert {batch.scope for batch in models} == {"triton-server"}
    assert all(
        [name for name, _ in events] == ["REQUEST_START", "QUEUE_START", "REQUEST_END"]
        for batch in models
        for events in span_rows.events(batch) or [[]]
    )


def test_the_published_example_is_read() -> None:
    path = CAPTURES / "published" / "opentelemetry-proto" / "trace.json"
    (batch,) = decode_json(path.read_bytes(), wants("my.span.attr", name="I'm a server span")).batches
    assert (batch.scope, batch.kind.tolist(), span_rows.attributes(batch)) == ("my.library", [2], [["some value"]])


def test_an_outline_looks_at_what_nobody_wanted() -> None:
    body = with_key({"events": [{"name": 5}]})
    assert decode_json(body, wants()).spans == 1
    with pytest.raises(DecodeError, match="name has the wrong type"):
        list(outlined_json(body))
