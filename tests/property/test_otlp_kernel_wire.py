"""Exports made field by field as the encoding allows it, or just doesn't: the kernel, protobuf and the published schema say the same."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf.message import DecodeError as WireError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infermeter.model import Layout
from infermeter.otlp.kernel import Kernel
from property.test_otlp_kernel import assert_same
from support.compiled_kernel import library
from unit.otlp.exports import Wanted

WANTED = Wanted(
    {"llm_request": Layout(("model", "tokens", ""), events=False), "compute": Layout(("model",), events=True)}, resource_keys=("model",)
)
VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)


def varint(number: int, padding: int = 0) -> bytes:
    """A varint with so many bytes more than it needs; a padded one says the same."""
    told = bytearray()
    while number > 0x7F:
        told.append(number & 0x7F | 0x80)
        number >>= 7
    told.append(number)
    for _ in range(padding):
        told[-1] |= 0x80
        told.append(0)
    return bytes(told)


def field(number: int, content: bytes, wire_type: int = BYTES, padding: int = 0) -> bytes:
    """One field; of bytes also their length."""
    return varint(number << 3 | wire_type, padding) + (varint(len(content), padding) if wire_type == BYTES else b"") + content


def fixed64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def export(*spans: bytes, resource: bytes = b"", scope: bytes = b"") -> bytes:
    """The scope and its resource stand before their spans."""
    return field(1, field(1, resource) + field(2, field(1, scope) + b"".join(field(2, one) for one in spans)))


def taken(*sent: bytes) -> int:
    """How many of the exports the kernel took; of those that the published schema can read it tells as many spans."""
    kernel = Kernel(library(), WANTED)
    for body in sent:
        checked = kernel.checked(body)
        with suppress(WireError):  # it looks into lists, and at fields that nobody wants
            published = ExportTraceServiceRequest.FromString(body)
            assert checked is None or checked.spans == sum(
                len(scope.spans) for one in published.resource_spans for scope in one.scope_spans
            )
    return assert_same(sent, WANTED)


IDS = field(1, bytes(range(1, 17))) + field(2, bytes(range(1, 9)))
TIMES = field(7, fixed64(5), FIXED64) + field(8, fixed64(6), FIXED64)
NAMED = IDS + field(5, b"llm_request") + TIMES
EVENTFUL = IDS + field(5, b"compute") + TIMES


def told(value: bytes, key: bytes = b"model") -> bytes:
    return field(9, field(1, key) + field(2, value))


def nested(depth: int) -> bytes:
    """A list of lists of lists."""
    value = field(3, varint(1), VARINT)
    for _ in range(depth):
        value = field(5, field(1, value))
    return value


VALUES = {
    "nothing": b"",
    "text": field(1, b"text"),
    "no text": field(1, b""),
    "truth": field(2, varint(1), VARINT),
    "untruth": field(2, varint(0), VARINT),
    "a truth of 2": field(2, varint(2), VARINT),
    "a truth of 64 bits": field(2, varint(2**63), VARINT),
    "integer": field(3, varint(7), VARINT),
    "a negative integer": field(3, varint(2**64 - 1), VARINT),
    "the least integer": field(3, varint(2**63), VARINT),
    "a padded integer": field(3, varint(7, 3), VARINT),
    "double": field(4, b"\0\0\0\0\0\0\xf8\x3f", FIXED64),
    "no number": field(4, b"\xff" * 8, FIXED64),
    "list": field(5, field(1, field(1, b"text"))),
    "map": field(6, field(1, field(1, b"key") + field(2, field(3, varint(1), VARINT)))),
    "bytes": field(7, b"\xff\xfe"),
    "a list that is cut off": field(5, field(1, field(1, b"text"))[:-1]),
    "packed": field(3, varint(1) + varint(2)),
    "depth": nested(20),
    "a depth beyond that of protobuf": nested(120),
    "unknown": field(8, b"text"),
}
UNUSUAL = {"packed", "unknown"}
"""What is in a list or a map nobody reads."""


@pytest.mark.parametrize("key", [b"model", b"any", b"", b"k" * 300], ids=["wanted", "unwanted", "empty", "long"])
@pytest.mark.parametrize("value", VALUES)
def test_values_of_each_type_are_read_alike(value: str, key: bytes) -> None:
    spans = [IDS + field(5, name) + TIMES + told(VALUES[value], key) for name in (b"llm_request", b"compute")]
    count = taken(export(*spans), export(spans[0], spans[0]), export(spans[0], resource=field(1, field(1, key) + field(2, VALUES[value]))))
    if key == b"model":
        assert count == (0 if value in UNUSUAL else 3)


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 32, 300])
def test_ids_of_any_length_are_fit_or_malformed_alike(size: int, number: int) -> None:
    parts = {1: bytes(range(1, 17)), 2: bytes(range(1, 9)), 4: b""} | {number: b"\x01" * size}
    ids = b"".join(field(at, part) for at, part in parts.items())
    assert taken(export(NAMED, ids + field(5, b"llm_request") + TIMES, NAMED)) == 1


@pytest.mark.parametrize("time_ns", [0, 1, 5, 6, 7, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("number", [7, 8])
def test_times_up_to_the_end_of_64_bits_are_read_alike(number: int, time_ns: int) -> None:
    times = {7: 5, 8: 6} | {number: time_ns}
    body = b"".join(field(at, fixed64(time), FIXED64) for at, time in times.items())
    event = field(11, field(1, fixed64(time_ns), FIXED64) + field(2, b"e"))
    assert taken(export(IDS + field(5, b"llm_request") + body), export(EVENTFUL + event)) == 2


@pytest.mark.parametrize("missing", ["trace_id", "span_id", "name", "start", "end", "all"])
def test_a_span_that_lacks_something_is_malformed_or_left_to_protobuf(missing: str) -> None:
    parts = {
        "trace_id": field(1, bytes(range(1, 17))),
        "span_id": field(2, bytes(range(1, 9))),
        "name": field(5, b"compute"),
        "start": field(7, fixed64(5), FIXED64),
        "end": field(8, fixed64(6), FIXED64),
    }
    body = b"".join(part for name, part in parts.items() if missing not in (name, "all"))
    assert taken(export(body), export(NAMED, body)) == (0 if missing in ("name", "all") else 2)


@pytest.mark.parametrize("number", [*range(6), 6, 7, 15, 127, 255, 2**31 - 1, 2**32 - 1, 2**32, 2**63])
def test_kinds_and_codes_that_nobody_defined_are_read_alike(number: int) -> None:
    sent = [NAMED + field(6, varint(number), VARINT), NAMED + field(15, field(3, varint(number), VARINT))]
    assert taken(export(*sent), export(sent[0]), export(sent[1])) == 3


RICH = (
    field(1, bytes(range(1, 17))) + field(2, bytes(range(1, 9))) + field(3, b"state") + field(4, bytes(range(9, 17)))
    + field(5, b"compute") + field(6, varint(2), VARINT) + TIMES + told(field(1, b"text")) + told(field(4, fixed64(1), FIXED64), b"any")
    + field(10, varint(1), VARINT) + field(11, field(1, fixed64(5), FIXED64) + field(2, b"event"))
    + field(11, field(2, b"late") + field(3, b""))
    + field(13, field(1, bytes(16))) + field(15, field(2, b"said") + field(3, varint(2), VARINT)) + field(16, bytes(4), FIXED32)
)  # fmt: skip


def test_an_export_cut_off_anywhere_is_read_alike() -> None:
    whole = export(RICH, NAMED, resource=field(1, field(1, b"model") + field(2, field(1, b"r"))), scope=field(1, b"scope"))
    cuts = [whole[:end] for end in range(len(whole) + 1)]
    assert taken(*cuts) == 2  # nothing, and all


def test_a_span_cut_off_anywhere_within_its_length_is_read_alike() -> None:
    cuts = [export(NAMED, RICH[:end]) for end in range(len(RICH) + 1)]
    assert len(cuts) / 20 < taken(*cuts) < len(cuts) / 2  # those between two fields


@pytest.mark.parametrize("end", range(1, 12))
@pytest.mark.parametrize("size", [2**7, 2**28 - 1, 2**28, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
def test_a_length_beyond_the_end_is_never_taken(size: int, end: int) -> None:
    """Of each message and text: its length is another one."""
    far = varint(size) + b"x" * end
    sent = [export(NAMED), b"\x0a" + far, field(1, b"\x0a" + far), field(1, b"\x12" + far), export(NAMED, scope=b"\x0a" + far)]
    sent += [export(NAMED + tag + far) for tag in (b"\x0a", b"\x4a", b"\x5a", b"\x1a", b"\x7a")]
    sent += [export(NAMED + field(9, b"\x0a" + far)), export(NAMED + told(b"\x0a" + far)), export(NAMED + field(11, b"\x12" + far))]
    sent += [export(NAMED + field(15, b"\x12" + far)), export(NAMED, resource=field(1, b"\x0a" + far))]
    assert taken(*sent) == 1


@pytest.mark.parametrize("what", ["tags", "lengths", "numbers"])
@pytest.mark.parametrize("padding", range(11))
def test_padded_varints_say_the_same_or_are_left_to_protobuf(padding: int, what: str) -> None:
    of = {name: padding if name == what else 0 for name in ("tags", "lengths", "numbers")}
    value = varint(3 << 3 | VARINT) + varint(7, of["numbers"])
    attribute = varint(1 << 3 | BYTES, of["tags"]) + varint(6, of["lengths"]) + b"tokens" + field(2, value)
    sent = NAMED + varint(9 << 3 | BYTES, of["tags"]) + varint(len(attribute), of["lengths"]) + attribute
    sent += varint(6 << 3 | VARINT) + varint(2, of["numbers"])
    usual = {"tags": padding < 4, "lengths": padding < 4, "numbers": padding < 10}[what]
    assert taken(export(sent), export(sent, NAMED, sent)) == 2 * usual


def test_a_long_key_is_not_remembered_in_the_place_of_another() -> None:
    """It holds what would be the attribute after it, as the first that is wanted."""
    begin = field(1, b"any") + varint(2 << 3 | BYTES)
    key = b"x" * 59 + b"\0\0" + bytes([len(begin)]) + begin
    one = NAMED + told(field(1, b"text"), key) + told(field(1, b"other"), b"any")
    assert taken(export(one, one, one)) == 1


@pytest.mark.parametrize("tag", [b"\x0a", b"\x12", b"\x22"])
def test_an_id_that_lies_beyond_the_end_is_not_taken_for_none(tag: bytes) -> None:
    whole = field(5, b"llm_request") + TIMES
    assert taken(export(whole), export(whole + tag + b"\x08")) == 1


CONTENTS = {
    VARINT: st.builds(varint, st.sampled_from((0, 1, 2, 5, 127, 128, 2**31, 2**32, 2**63, 2**64 - 1)), padding=st.integers(0, 2)),
    FIXED64: st.sampled_from((0, 1, 5, 6, 2**63 - 1, 2**63, 2**64 - 1)).map(fixed64),
    FIXED32: st.just(bytes(4)),
    GROUP: st.just(b""),
    END_GROUP: st.just(b""),
}
VALUE = st.sampled_from(sorted(VALUES.values()))
KEY = st.sampled_from((b"model", b"tokens", b"", b"any", b"mode\xc3\xa9", b"mode\xff", b"x" * 61, b"x" * 256))


def fields(highest: int, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Any field of any type, also padded, or in a group."""
    bytes_field = st.builds(field, st.integers(1, highest), content, padding=st.sampled_from((0, 0, 0, 1, 3, 4)))
    others = [st.builds(field, st.integers(1, highest), some, st.just(kind)) for kind, some in CONTENTS.items()]
    grouped = st.builds(lambda number, inner: field(number, inner, GROUP) + field(number, b"", END_GROUP), st.integers(1, highest), content)
    return bytes_field | bytes_field | st.one_of(others) | grouped


ATTRIBUTE = st.builds(lambda key, value: field(1, key) + field(2, value), KEY, VALUE) | st.lists(fields(4, KEY | VALUE), max_size=3).map(
    b"".join
)
EVENT = st.lists(fields(4, st.sampled_from((b"", b"event", b"\xff"))), max_size=4).map(b"".join)
OTHER = fields(17, st.sampled_from((b"", bytes(range(1, 9)), bytes(range(1, 17)), b"llm_request", b"compute")))
WITHIN = st.builds(field, st.just(9), ATTRIBUTE) | st.builds(field, st.just(11), EVENT) | OTHER
SPAN = st.builds(
    lambda first, more: first + b"".join(more), st.sampled_from((NAMED, NAMED, EVENTFUL, IDS, b"")), st.lists(WITHIN, max_size=4)
)
SCOPE = st.just(field(1, b"scope")) | st.lists(fields(3, st.sampled_from((b"", b"s", b"\xff"))), max_size=2).map(b"".join)
RESOURCE = st.builds(field, st.just(1), ATTRIBUTE) | st.lists(fields(3, ATTRIBUTE), max_size=2).map(b"".join)


@settings(max_examples=100, deadline=None)
@given(sent=st.lists(st.builds(lambda spans, *around: export(*spans, resource=around[0], scope=around[1]),
                               st.lists(SPAN, max_size=4), RESOURCE, SCOPE), min_size=1, max_size=3),
       beside=fields(3, st.sampled_from((b"", b"\x0a\x00", b"\x12\x00"))))  # fmt: skip
def test_any_fields_in_any_order_are_read_alike(sent: list[bytes], beside: bytes) -> None:
    taken(*sent, sent[0] + beside, beside + sent[-1], b"".join(sent))
