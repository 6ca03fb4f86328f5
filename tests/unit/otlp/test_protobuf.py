import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from infermeter.errors import DecodeError
from infermeter.model import AttributeValue, Layout
from infermeter.otlp.protobuf import decode_protobuf
from support import span_rows
from unit.otlp.exports import END_NS, PARENT, SPAN, START_NS, TRACE, Wanted, body, request, span, wants

CAPTURES = Path(__file__).parents[2] / "captures"


def column(values: Sequence[AttributeValue | AnyValue | None]) -> list[object]:
    """What becomes of one attribute of some spans."""
    spans = [span(number, {} if value is None else {"key": value}) for number, value in enumerate(values)]
    (batch,) = decode_protobuf(body(*spans), wants("key")).batches
    return span_rows.attributes(batch)[0]


def test_an_empty_request_is_an_empty_export() -> None:
    export = decode_protobuf(b"", wants())
    assert (export.batches, export.spans, export.malformed) == ((), 0, 0)


def test_a_scope_without_spans_makes_no_batch() -> None:
    assert decode_protobuf(body(), wants()).batches == ()


def test_a_span_is_read_field_by_field() -> None:
    sent = span(parent_span_id=PARENT, status=Status(code=Status.STATUS_CODE_ERROR))
    (batch,) = decode_protobuf(body(sent, scope="vllm.llm_engine"), wants()).batches
    assert batch.scope == "vllm.llm_engine"
    assert [span_rows.ids(one) for one in (batch.trace_id, batch.span_id, batch.parent_id)] == [[TRACE], [SPAN], [PARENT]]
    assert (batch.kind[0], batch.status[0]) == (2, 2)
    assert (batch.start_ns[0], batch.end_ns[0]) == (START_NS, END_NS)
    assert len(batch) == 1


def test_only_wanted_resource_attributes_with_a_scalar_are_read() -> None:
    wanted = Wanted(resource_keys=("service.name", "host.name", "tags"))
    sent = body(span(), resource={"service.name": "chat", "process.pid": 7, "tags": AnyValue(array_value=ArrayValue())})
    (batch,) = decode_protobuf(sent, wanted).batches
    assert dict(batch.resource) == {"service.name": "chat"}


@pytest.mark.parametrize("value", ["text", "", "ü", True, False, 0, 1, 300, -1, 2**63 - 1, -(2**63), 0.0, 1.5, -0.25, math.inf])
def test_a_value_keeps_its_type_also_where_it_is_the_default(value: AttributeValue) -> None:
    for repeats in (1, 40):
        told = column([value] * repeats)
        assert told == [value] * repeats
        assert {type(each) for each in told} == {type(value)}


def test_nan_stays_nan() -> None:
    (value,) = column([math.nan])
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize(
    "value",
    [AnyValue(), AnyValue(array_value=ArrayValue()), AnyValue(kvlist_value=KeyValueList()), AnyValue(bytes_value=b"raw")],
    ids=["unset", "array", "map", "bytes"],
)
def test_what_is_no_scalar_is_absent(value: AnyValue) -> None:
    assert column([value]) == [None]


def test_a_value_of_nothing_but_zero_is_told_from_an_absent_one() -> None:
    assert column([0.0, None, 0, None, "", False]) == [0.0, None, 0, None, "", False]


def test_an_attribute_that_no_span_has_is_absent_everywhere() -> None:
    assert column([None, None]) == [None, None]


def test_long_columns_of_integers_are_exact() -> None:
    values = [sign * (2**bits + offset) for bits in range(63) for offset in (-1, 0, 1) for sign in (1, -1)]
    assert column(values) == values


def test_a_column_of_integers_with_one_that_is_written_oddly_is_exact_too() -> None:
    values: list[AttributeValue | None] = [1000] * 20
    oddly = AnyValue.FromString(b"")
    assert column([*values, "text", oddly]) == [*values, "text", None]


def test_mixed_types_in_one_column_stay_apart() -> None:
    assert column([1, 1.0, True, "1", 2.5]) == [1, 1.0, True, "1", 2.5]


def test_of_two_equal_keys_the_last_wins() -> None:
    sent = span(attributes={"key": "first"})
    sent.attributes.extend(span(attributes={"key": "last"}).attributes)
    (batch,) = decode_protobuf(body(sent), wants("key")).batches
    assert span_rows.attributes(batch) == [["last"]]


def test_a_wanted_attribute_that_is_damaged_refuses_the_export_and_an_unwanted_one_is_not_looked_at() -> None:
    raw = body(span(attributes={"key": "value"})).replace(b"\x0a\x05value", b"\x0a\x7fvalue")
    with pytest.raises(DecodeError):
        decode_protobuf(raw, wants("key"))
    assert decode_protobuf(raw, wants("other")).spans == 1


def test_events_are_read_where_the_layout_wants_them() -> None:
    events = [
        Span.Event(name="first_token", time_unix_nano=START_NS + 1),
        Span.Event(name="no time"),
        Span.Event(name="absurd", time_unix_nano=2**63),
    ]
    sent = body(span(events=events), span(1))
    (batch,) = decode_protobuf(sent, wants(events=True)).batches
    assert span_rows.events(batch) == [[("first_token", START_NS + 1)], []]
    (batch,) = decode_protobuf(sent, wants()).batches
    assert batch.events is None


def test_spans_are_grouped_by_layout_in_order_of_arrival() -> None:
    model, compute = Layout(("model",), events=False), Layout((), events=True)
    wanted = Wanted({"a": model, "b": model, "compute": compute})
    spans = [span(number, {"model": name}, name=name) for number, name in enumerate(["a", "compute", "b", "compute", "a"])]
    first, second = decode_protobuf(body(*spans), wanted).batches
    assert (first.layout, second.layout) == (model, compute)
    assert span_rows.attributes(first) == [["a", "b", "a"]]
    assert span_rows.ids(second.span_id) == [spans[1].span_id, spans[3].span_id]
    assert span_rows.events(second) == [[], []]


def test_a_layout_is_asked_for_once_a_name() -> None:
    wanted = wants()
    decode_protobuf(body(*map(span, range(5))), wanted)
    assert wanted.asked == [("scope", "llm_request")]


def test_resources_and_scopes_are_kept_apart() -> None:
    sent = request(span(), scope="one", resource={"service.name": "a"})
    sent.MergeFrom(request(span(1), scope="two", resource={"service.name": "b"}))
    batches = decode_protobuf(sent.SerializeToString(), Wanted(resource_keys=("service.name",))).batches
    assert [(batch.scope, batch.resource["service.name"]) for batch in batches] == [("one", "a"), ("two", "b")]


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": b""},
        {"trace_id": bytes(16)},
        {"trace_id": TRACE + b"\0"},
        {"span_id": b""},
        {"span_id": bytes(8)},
        {"span_id": SPAN[:7]},
        {"parent_span_id": PARENT[:3]},
        {"start_time_unix_nano": 0},
        {"end_time_unix_nano": 0},
        {"end_time_unix_nano": START_NS - 1},
        {"end_time_unix_nano": 2**63},
        {"start_time_unix_nano": 2**64 - 1, "end_time_unix_nano": 2**64 - 1},
    ],
)
def test_an_unfit_span_is_counted_and_its_neighbours_are_kept(fields: dict[str, object]) -> None:
    sent = body(span(1, {"key": 1}), span(2, {"key": 2}, **fields), span(3, {"key": 3}))
    export = decode_protobuf(sent, wants("key"))
    (batch,) = export.batches
    assert (export.spans, export.malformed, len(batch)) == (3, 1, 2)
    assert span_rows.attributes(batch) == [[1, 3]]


def test_an_export_of_unfit_spans_alone_has_no_batch() -> None:
    export = decode_protobuf(body(span(span_id=b"")), wants())
    assert (export.batches, export.spans, export.malformed) == ((), 1, 1)


def test_a_span_may_take_no_time() -> None:
    assert decode_protobuf(body(span(end_time_unix_nano=START_NS)), wants()).malformed == 0


def test_a_parent_of_zeros_is_no_parent() -> None:
    (batch,) = decode_protobuf(body(span(1, parent_span_id=bytes(8)), span(2, parent_span_id=PARENT)), wants()).batches
    assert span_rows.ids(batch.parent_id) == [b"", PARENT]


def test_a_kind_and_a_status_that_do_not_exist_are_unset() -> None:
    raw = request(span(1), span(2))
    odd = raw.SerializeToString() + request(Span.FromString(span(3).SerializeToString() + b"\x30\x63\x7a\x02\x18\x63")).SerializeToString()
    batches = decode_protobuf(odd, wants()).batches
    assert [kind for batch in batches for kind in batch.kind] == [2, 2, 0]
    assert [status for batch in batches for status in batch.status] == [0, 0, 0]


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_truncated_export_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_protobuf(body(span(attributes={"key": "secret prompt"}))[:-cut], wants("key"))
    assert "secret" not in str(refused.value)


def test_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_protobuf(body(span()).replace(b"llm_request", b"llm_\xff\xfe_uest"), wants())


@pytest.mark.parametrize(("capture", "spans"), [("vllm/http", 95), ("vllm/grpc", 230)])
def test_what_vllm_sent_is_read_whole(capture: str, spans: int) -> None:
    exports = [decode_protobuf(path.read_bytes(), wants("gen_ai.latency.e2e")) for path in sorted((CAPTURES / capture).glob("*.pb"))]
    assert sum(export.spans for export in exports) == spans
    assert sum(export.malformed for export in exports) == 0
    requests = [batch for export in exports for batch in export.batches if batch.layout.keys]
    assert all(isinstance(value, float) and value > 0 for batch in requests for value in span_rows.attributes(batch)[0])
