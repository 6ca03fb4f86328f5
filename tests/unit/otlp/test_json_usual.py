"""What is read together is what would be read one by one, and what isn't as usual isn't read together."""

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from infermeter.otlp import json_messages
from infermeter.otlp.json import decode_json
from infermeter.otlp.json_usual import usual_export
from support.json_scopes import WANTED, body_of, read_one_by_one, read_together
from unit.otlp.exports import END_NS, PARENT, SPAN, START_NS, TRACE

CAPTURES = Path(__file__).parents[2] / "captures"
USUAL: dict[str, Any] = {
    "traceId": TRACE.hex(),
    "spanId": SPAN.hex(),
    "parentSpanId": PARENT.hex(),
    "name": "model",
    "kind": 2,
    "startTimeUnixNano": str(START_NS),
    "endTimeUnixNano": str(END_NS),
    "attributes": [{"key": "model", "value": {"stringValue": "m"}}, {"key": "tokens", "value": {"intValue": "5"}}],
    "events": [{"name": "first", "timeUnixNano": str(START_NS + 5)}, {"name": "second", "timeUnixNano": str(START_NS + 7)}],
    "status": {"code": 1},
}
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in USUAL.items() if name != key}


def attribute(value: object, key: object = "tokens") -> dict[str, Any]:
    return {"attributes": [{"key": key, "value": value}]}


def test_spans_of_several_layouts_are_read_together_in_the_order_of_their_first_ones() -> None:
    names = ["again", "other", "InferRequest", "and again", "model", "other"]
    spans = [USUAL | {"name": name, "spanId": f"{number:016x}"} for number, name in enumerate(names, 1)]
    assert read_together(body_of(spans)) == read_one_by_one(body_of(spans)) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"traceId": "ABCDEFabcdef00112233445566778899"},
        {"parentSpanId": ""},
        {"parentSpanId": "0" * 16},
        {"kind": "SPAN_KIND_CLIENT"},
        {"kind": "NEW"},
        {"kind": None},
        {"kind": 99},
        {"kind": -1},
        {"status": {}},
        {"status": None},
        {"status": {"code": "STATUS_CODE_ERROR"}},
        {"status": {"code": 7}},
        {"startTimeUnixNano": "7"},
        {"startTimeUnixNano": f" +{START_NS} "},
        {"startTimeUnixNano": str(START_NS).translate(ARABIC)},
        {"endTimeUnixNano": str(2**63 - 2)},
        {"attributes": []},
        {"events": []},
        {"events": [{"timeUnixNano": str(START_NS)}]},
        {"attributes": [{"value": {"intValue": 1}}]},
        {"attributes": None},
        {"name": ""},
        attribute({}),
        attribute(None),
        attribute({"stringValue": "text"}),
        attribute({"stringValue": None}),
        attribute({"stringValue": None, "intValue": 3}),
        attribute({"intValue": 5}),
        attribute({"intValue": "9223372036854775808"}),
        attribute({"intValue": "many"}),
        attribute({"doubleValue": 1}),
        attribute({"doubleValue": 1.5}),
        attribute({"doubleValue": "NaN"}),
        attribute({"boolValue": False}),
        attribute({"intValue": 2}, key=""),
        {"attributes": [{"key": "tokens", "value": {"intValue": number}} for number in (1, 2)]},
        {"attributes": [{"key": "tokens"}]},
        {"attributes": list(reversed(USUAL["attributes"]))},
        {"attributes": USUAL["attributes"][:1]},
        {"attributes": [*USUAL["attributes"], {"key": "prompt", "value": {"stringValue": '\u00e9\N{GRINNING FACE}\n"\\'}}]},
        attribute({"stringValue": "text", "doubleValue": 1.5}),
        attribute({"stringValue": "text", "boolValue": True}),
        attribute({"intValue": "5", "stringValue": "text"}),
        attribute({"arrayValue": {"values": [{"stringValue": "stop"}, {"arrayValue": {}}]}}),
        attribute({"kvlistValue": {"values": [{"key": "inner", "value": {"intValue": "1"}}]}, "intValue": "2"}),
        attribute({"bytesValue": "AA=="}),
        {"traceState": "a=b", "flags": 257, "droppedAttributesCount": 1, "droppedEventsCount": 0, "droppedLinksCount": None},
        {"links": [{"traceId": TRACE.hex(), "spanId": SPAN.hex(), "traceState": "", "attributes": [], "flags": 1}]},
        {"status": {"code": 2, "message": "it failed"}},
        {"events": [{"name": "e", "timeUnixNano": str(START_NS), "attributes": [{"key": "of the event"}], "droppedAttributesCount": 2}]},
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_what_senders_write_this_way_too_is_read_together(other: dict[str, Any], *, alone: bool) -> None:
    spans = [USUAL | other] if alone else [USUAL, USUAL | other, USUAL]
    assert read_together(body_of(spans)) == read_one_by_one(body_of(spans)) is not None


@pytest.mark.parametrize("key", ["parentSpanId", "name", "kind", "attributes", "events", "status"])
def test_what_is_missing_is_unset(key: str) -> None:
    for spans in ([without(key)], [without(key), USUAL]):
        assert read_together(body_of(spans)) == read_one_by_one(body_of(spans)) is not None


def test_times_may_all_be_numbers() -> None:
    spans = [USUAL | {"startTimeUnixNano": START_NS, "endTimeUnixNano": END_NS, "events": [{"name": "e", "timeUnixNano": START_NS}]}]
    assert read_together(body_of(spans)) == read_one_by_one(body_of(spans)) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"traceId": 5},
        {"traceId": None},
        {"parentSpanId": None},
        {"parentSpanId": 0},
        {"parentSpanId": []},
        {"kind": True},
        {"kind": 2.0},
        {"kind": []},
        {"name": None},
        {"name": 5},
        {"name": []},
        {"status": []},
        {"status": ""},
        {"status": {"code": 1.0}},
        {"startTimeUnixNano": True},
        {"parent_span_id": "read only where the other is missing"},
        attribute([]),
        attribute("stringValue"),
        attribute(["stringValue"]),
        attribute({"stringValue": 5}),
        attribute({"intValue": True}),
        attribute({"doubleValue": False}),
        attribute({"double_value": 2.5}),
        {"attributes": {}},
        {"attributes": ""},
        {"attributes": [5]},
        {"attributes": [[]]},
        {"attributes": ["key"]},
        {"attributes": [{"key": None}]},
        {"attributes": [{"key": []}]},
        {"attributes": [{"key": 5}]},
        {"events": {}},
        {"events": "none"},
        {"events": [5]},
        {"events": ["name"]},
        {"events": [{"name": [], "timeUnixNano": str(START_NS)}]},
        {"events": [{"name": 5, "timeUnixNano": str(START_NS)}]},
        {"events": [{"name": "snake", "time_unix_nano": str(START_NS)}]},
        {"events": [{"name": "strange", "timeUnixNano": str(START_NS), "severity": 1}]},
        {"flags": 1.5},
        {"droppedEventsCount": "3"},
        {"traceState": 5},
        {"links": [{"span": SPAN.hex()}]},
        {"somethingNew": None},
        attribute({"arrayValue": []}),
        attribute({"somethingNew": 1}),
    ],
)
def test_what_is_unusual_is_not_read_together(other: dict[str, Any]) -> None:
    assert read_together(body_of([USUAL, USUAL | other])) is None


@pytest.mark.parametrize(
    "other",
    [
        {"traceId": "00" * 16},
        {"traceId": "0" * 30 + "  "},
        {"traceId": "zz" * 16},
        {"traceId": "\uff11" * 32},
        {"traceId": " " * 32},
        {"spanId": " " * 16},
        {"spanId": "00" * 8},
        {"spanId": "ab " * 5 + "a"},
        {"parentSpanId": "ab"},
        {"startTimeUnixNano": "yesterday"},
        {"startTimeUnixNano": "179000000000000000x"},
        {"startTimeUnixNano": "179000000000000000/"},
        {"startTimeUnixNano": "179000000000,000000"},
        {"startTimeUnixNano": START_NS},
        {"startTimeUnixNano": None},
        {"startTimeUnixNano": "0"},
        {"startTimeUnixNano": "-5"},
        {"startTimeUnixNano": str(END_NS + 1)},
        {"endTimeUnixNano": "9999999999999999999"},
        {"endTimeUnixNano": str(2**63)},
        {"endTimeUnixNano": "9" * 25},
        {"endTimeUnixNano": "9" * 5000},
        {"events": [{"name": "no time"}]},
        {"events": [{"name": "zero", "timeUnixNano": "0"}]},
        *({key: ""} for key in ("traceId", "spanId", "startTimeUnixNano", "endTimeUnixNano")),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_what_is_unfit_is_left_out_as_it_is_one_by_one(other: dict[str, Any], *, alone: bool) -> None:
    body = body_of([USUAL | other] if alone else [USUAL | other, USUAL, USUAL | other])
    assert read_together(body) == read_one_by_one(body) is not None


@pytest.mark.parametrize("key", ["traceId", "spanId", "startTimeUnixNano", "endTimeUnixNano"])
def test_a_span_without_id_or_time_is_left_out(key: str) -> None:
    body = body_of([USUAL, without(key)])
    assert read_together(body) == read_one_by_one(body) is not None
    read = usual_export(body, WANTED)
    assert read is not None
    assert (read.spans, read.malformed, [len(batch) for batch in read.batches]) == (2, 1, [1])


def test_a_parent_in_snake_case_is_not_overlooked() -> None:
    assert read_together(body_of([USUAL, without("parentSpanId") | {"parent_span_id": PARENT.hex()}])) is None


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [
        ("spanId", "1" * 15, "2" * 17),
        ("traceId", "1" * 30, "2" * 34),
        ("spanId", "1" * 16 + "2" * 16, ""),
        ("parentSpanId", "1" * 32, ""),
        ("startTimeUnixNano", str(START_NS)[:-1], f"{START_NS}0"),
        ("startTimeUnixNano", f"{START_NS},{START_NS}", str(START_NS)),
        ("startTimeUnixNano", f"{START_NS},{START_NS}", ""),
    ],
)
def test_a_value_never_takes_digits_of_its_neighbour(key: str, first: str, second: str) -> None:
    body = body_of([USUAL | {key: first}, USUAL | {key: second}])
    assert read_together(body) == read_one_by_one(body) is not None


def test_two_numbers_in_one_text_are_not_the_numbers_of_two() -> None:
    both = f"{START_NS},{START_NS}"
    for other in ({"startTimeUnixNano": both}, {"events": [{"name": "both", "timeUnixNano": both}]}):
        body = body_of([USUAL | other])
        assert read_together(body) == read_one_by_one(body) is not None


def test_texts_of_other_lengths_are_times_where_each_is() -> None:
    spans = [USUAL | {"startTimeUnixNano": time} for time in (str(START_NS)[:-1], f"0{START_NS}")]
    assert read_together(body_of(spans)) == read_one_by_one(body_of(spans)) is not None


@pytest.mark.parametrize("nothing", [0, [], {}, False, None])
def test_only_an_empty_text_is_no_parent(nothing: object) -> None:
    assert read_together(body_of([USUAL | {"parentSpanId": ""}, USUAL | {"parentSpanId": nothing}])) is None


@pytest.mark.parametrize("name", sorted(str(path.relative_to(CAPTURES)) for path in CAPTURES.glob("triton/**/0*.json")))
def test_what_triton_sends_is_read_together(name: str) -> None:
    body = (CAPTURES / name).read_bytes()
    assert read_together(body) == read_one_by_one(body) is not None


def test_what_stands_beside_the_spans_is_read_too() -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": name}} for name in ("a", "b")], "droppedAttributesCount": 1}
    scope = {"name": "other", "version": "1", "attributes": [{"key": "k"}], "droppedAttributesCount": 0}
    told = [
        {
            "resource": resource,
            "scopeSpans": [{"scope": scope, "spans": [USUAL], "schemaUrl": "s"}, {"spans": [USUAL] * 2}, {}],
            "schemaUrl": "",
        },
        {"scopeSpans": [{"scope": None, "spans": None}]},
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"arrayValue": {}}}]},
            "scopeSpans": [{"scope": {}, "spans": [USUAL]}],
        },
        {"resource": {"entityRefs": [{"schemaUrl": "", "type": "host", "idKeys": ["host.id"], "descriptionKeys": []}]}},
        {"resource": None, "scopeSpans": None, "schemaUrl": None},
    ]
    body = orjson.dumps({"resourceSpans": told})
    assert read_together(body) == read_one_by_one(body) is not None
    read = usual_export(body, WANTED)
    assert read is not None
    assert [(batch.scope, dict(batch.resource), len(batch)) for batch in read.batches] == [
        ("other", {"service.name": "b"}, 1),
        ("", {"service.name": "b"}, 2),
        ("", {}, 1),
    ]


def test_every_member_that_the_published_schema_has_for_traces_is_usual() -> None:
    of_profiles = {"keyStrindex", "stringValueStrindex"}
    messages, seen = [TracesData.DESCRIPTOR], {}
    while messages:
        message = messages.pop()
        seen[message.name] = {field.json_name for field in message.fields} - of_profiles
        messages += [field.message_type for field in message.fields if field.message_type and field.message_type.name not in seen]
    assert len(seen) == 14
    for name, members in seen.items():
        assert {field.encode_name for field in msgspec.structs.fields(getattr(json_messages, name))} == members


def test_an_export_without_spans_has_nothing_unusual() -> None:
    assert read_together(b'{"resourceSpans":[{}]}') == read_one_by_one(b'{"resourceSpans":[{}]}') == ([], 0, 0, (b"", b""))


@pytest.mark.parametrize(
    "value",
    [b"1e999", b"9" * 400, b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\x"', b'"\t"', b"01", b"NaN", b"[" * 2000 + b"]" * 2000, b"nul"],
)
@pytest.mark.parametrize("member", [b"flags", b"traceState", b"somethingNew", b"doubleValue", b"intValue", b"stringValue", b"arrayValue"])
def test_what_one_parser_refuses_the_other_never_lets_pass(member: bytes, value: bytes) -> None:
    body = body_of([USUAL | attribute({"MEMBER": 0}) if member.endswith(b"Value") else USUAL | {"MEMBER": 0}])
    for written in (value, b"[%s]" % value):
        assert read_together(body.replace(b'"MEMBER":0', b'"%s":%s' % (member, written))) is None
    sound = {b"flags": b"1", b"traceState": b'"a"', b"doubleValue": b"1", b"intValue": b"1", b"stringValue": b'"a"', b"arrayValue": b"{}"}
    read = read_together(body.replace(b'"MEMBER":0', b'"%s":%s' % (member, sound.get(member, b"null"))))
    assert (read is None) == (member not in sound)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"resourceSpans":[]} x', b'\xef\xbb\xbf{"resourceSpans":[]}', b'{"resource_spans":[]}']
)
def test_what_is_no_such_message_is_not_read_together(body: bytes) -> None:
    assert read_together(body) is None


@pytest.mark.parametrize("kind", [2, 2.0])
def test_one_scope_whose_spans_are_unfit_leaves_the_others_as_they_are(kind: float) -> None:
    scopes = [
        {"spans": [USUAL]},
        {"spans": []},
        {"spans": [USUAL | {"spanId": "0a"}]},
        {"spans": [USUAL | {"spanId": "0b", "name": "InferRequest"}, USUAL | {"kind": kind, "spanId": PARENT.hex()}]},
    ]
    body = orjson.dumps({"resourceSpans": [{"scopeSpans": scopes}]})
    assert (read_together(body) is None) == isinstance(kind, float)
    export = decode_json(body, WANTED)
    assert (export.spans, export.malformed, export.outermost) == (4, 2, (SPAN, PARENT))
    assert [batch.span_id.tobytes() for batch in export.batches] == [SPAN, PARENT]
