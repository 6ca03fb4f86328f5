"""Spans that are decoded together by templates say what protobuf's own parser reads from each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from infermeter.config import Assembly, Limits
from infermeter.errors import DecodeError
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import Layout, SpanFilter
from infermeter.otlp.alike import alike_spans
from infermeter.otlp.messages import RAW_EXPORT_REQUEST
from infermeter.otlp.protobuf import decode_protobuf
from infermeter.otlp.templates import LEAST_ROWS, Templates
from support.span_rows import events as events_of
from support.span_rows import rows as rows_of
from unit.otlp.exports import START_NS, Wanted, span

CAPTURES = Path(__file__).parents[1] / "captures"
KEYS = ("model", "tokens", "seconds", "missing")
WANTED = Wanted({"llm_request": Layout(KEYS, events=False), "compute": Layout(KEYS[:1], events=True)})


def body_of(raws: Sequence[bytes]) -> bytes:
    """An export of serialised spans, whatever is in them."""
    return bytes(RAW_EXPORT_REQUEST(resource_spans=[{"scope_spans": [{"scope": {"name": "scope"}, "spans": raws}]}]).SerializeToString())


def rows(body: bytes, wanted: SpanFilter, templates: Templates | None) -> object:
    """The spans of an export as comparable rows in an order of their own; the word for an export that is refused."""
    try:
        export = decode_protobuf(body, wanted, templates)
    except DecodeError:
        return "refused"
    told = [row for batch in export.batches for row in rows_of(batch)]
    return export.spans, export.malformed, export.outermost, sorted(told, key=repr)


def assert_same(body: bytes, wanted: SpanFilter = WANTED, times: int = 2) -> None:
    """With templates made by this export, and with those that it left behind, the rows are those that protobuf reads."""
    templates = Templates(wanted)
    for _ in range(times):
        assert rows(body, wanted, templates) == rows(body, wanted, None)


def alike(random: Random, count: int, *, text: int, small: int, events: int = 0) -> list[bytes]:
    """Serialised spans of one structure with values of their own, and events that are wanted, if there are any."""
    return [
        span(
            number,
            {
                "model": "".join(random.choices("abcé", k=text)),
                "prompt": "".join(random.choices("xyz", k=text)),
                "tokens": random.randrange(2 ** (7 * small - 1), 2 ** (7 * small)),
                "seconds": random.choice((random.random(), 0.0, -1.0, float("inf"), float("nan"))),
                "flag": True,
            },
            trace_id=random.randbytes(16),
            parent_span_id=random.choice((random.randbytes(8), random.randbytes(8), bytes(8))),
            start_time_unix_nano=START_NS + random.randrange(10**9),
            end_time_unix_nano=START_NS + random.randrange(10**9),
            trace_state="".join(random.choices("ab", k=4)),
            flags=256,
            status=Status(code=random.choice((0, 0, 2))),
            dropped_attributes_count=3,
            name="compute" if events else "llm_request",
            events=[
                Span.Event(
                    name=f"event {n % 3}",
                    time_unix_nano=random.choice((START_NS, START_NS, START_NS, 0, 2**63)) + random.randrange(10**9) * (small > 4),
                    attributes=[KeyValue(key="a", value=AnyValue(int_value=random.randrange(100)))] * (text % 2),
                    dropped_attributes_count=text,
                )
                for n in range(events)
            ],
        ).SerializeToString()
        for number in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 5), st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_spans_of_a_few_structures_are_read_alike(seed: int, kinds: list[tuple[int, int, int, int]]) -> None:
    random = Random(seed)
    raws = [raw for count, text, small, events in kinds for raw in alike(random, count, text=text, small=small, events=events)]
    random.shuffle(raws)
    assert_same(body_of(raws))


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32), damaged=st.integers(1, 6), start=st.integers(0, 200), events=st.sampled_from([0, 2]))
def test_damage_is_seen_as_protobuf_sees_it(seed: int, damaged: int, start: int, events: int) -> None:
    """Bytes of spans that all have one length are changed at random: also in the span from which the template is made."""
    random = Random(seed)
    raws = [bytearray(raw) for raw in alike(random, 40, text=3, small=2, events=events)]
    for raw in raws[start % len(raws) :][:damaged] + raws[: random.choice((0, 0, 1))]:
        raw[random.randrange(len(raw))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    for raw in raws:  # what refuses the export hides all else
        if rows(body_of([bytes(raw)]), WANTED, None) == "refused" and random.random() < 0.5:
            raw[:] = raws[20]
    assert_same(body_of([bytes(raw) for raw in raws]))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.integers(0, 400), byte=st.integers(0, 255), events=st.sampled_from([0, 2]))
def test_a_change_in_every_span_makes_another_structure_or_none(seed: int, at: int, byte: int, events: int) -> None:
    raws = [bytearray(raw) for raw in alike(Random(seed), 30, text=2, small=1, events=events)]
    for raw in raws:
        raw[at % len(raw)] = byte
    assert_same(body_of([bytes(raw) for raw in raws]))


ODD = {
    "a wanted attribute twice": lambda n: span(n, {"tokens": 5}).SerializeToString() + span(0, {"tokens": 7}).SerializeToString()[-12:],
    "a wanted truth value": lambda n: span(n, {"model": True}).SerializeToString(),
    "a wanted negative integer": lambda n: span(n, {"tokens": -5}).SerializeToString(),
    "a wanted array": lambda n: span(n, {"tokens": AnyValue(array_value={"values": [AnyValue(int_value=1)]})}).SerializeToString(),
    "a wanted value of nothing": lambda n: span(n, {"tokens": AnyValue()}).SerializeToString(),
    "a wanted text of nothing": lambda n: span(n, {"model": ""}).SerializeToString(),
    "an id twice": lambda n: span(n).SerializeToString() + b"\x12\x08" + bytes(range(2, 10)),
    "a short trace id": lambda n: span(n, trace_id=b"short").SerializeToString(),
    "no times": lambda n: span(n, start_time_unix_nano=0, end_time_unix_nano=0).SerializeToString(),
    "times that descend": lambda n: span(n, end_time_unix_nano=START_NS - 1).SerializeToString(),
    "a wanted integer above 2**56": lambda n: span(n, {"tokens": 2**56 + n}).SerializeToString(),
    "no name and no kind": lambda n: span(n, name="", kind=0).SerializeToString(),
    "a kind of two bytes": lambda n: span(n, kind=0).SerializeToString() + b"\x30\x82\x00",
    "a kind of another type": lambda n: span(n, kind=0).SerializeToString() + b"\x35\x01\x00\x00\x00",
    "an unknown number": lambda n: span(n).SerializeToString() + b"\x50\x05",
    "a group": lambda n: span(n).SerializeToString() + b"\xa3\x01\xa4\x01",
    "a link": lambda n: span(n, links=[Span.Link(trace_id=bytes([n % 250 + 1] * 16))]).SerializeToString(),
    "two links": lambda n: span(n, links=[Span.Link(trace_id=bytes([n % 250 + 1] * 16))] * 2).SerializeToString(),
    "an event": lambda n: span(n, events=[Span.Event(name="e", time_unix_nano=n + 1)]).SerializeToString(),
    "wanted events": lambda n: span(n, name="compute", events=[Span.Event(name="e", time_unix_nano=n + 1)]).SerializeToString(),
    "an event without a time": lambda n: span(n, name="compute", events=[Span.Event(name="e")]).SerializeToString(),
    "an event without a name": lambda n: span(n, name="compute", events=[Span.Event(time_unix_nano=n + 1)]).SerializeToString(),
    "an event with two attributes": lambda n: span(
        n, name="compute", events=[Span.Event(time_unix_nano=n + 1, attributes=[KeyValue(key="k"), KeyValue(key="l")])]
    ).SerializeToString(),
    "an event of another type": lambda n: span(n, name="compute").SerializeToString() + b"\x58\x05",
    "an event whose time has another type": lambda n: span(n, name="compute").SerializeToString() + b"\x5a\x02\x08\x05",
    "an event whose name is no UTF-8": lambda n: span(n, name="compute").SerializeToString() + b"\x5a\x04\x12\x02\xff\xfe",
    "a layout with events and no event": lambda n: span(n, name="compute").SerializeToString(),
    "an attribute without a value": lambda n: span(n).SerializeToString() + b"\x4a\x03\x0a\x01k",
    "an attribute of another type": lambda n: span(n).SerializeToString() + b"\x48\x05",
    "an attribute whose key has another type": lambda n: span(n).SerializeToString() + b"\x4a\x04\x08\x01\x12\x00",
    "a status with a message": lambda n: span(n, status=Status(code=2, message=f"m{n % 10}")).SerializeToString(),
    "a status code of another type": lambda n: span(n).SerializeToString() + b"\x7a\x05\x1d\x01\x00\x00\x00",
    "a text that is no UTF-8": lambda n: span(n, {"model": "ab"}).SerializeToString().replace(b"ab", b"\xff\xfe" if n == 20 else b"cd"),
    "a text that is no UTF-8 in spans that aren't fit": lambda n: (
        span(n, {"model": "ab"}, start_time_unix_nano=0).SerializeToString().replace(b"ab", b"\xff\xfe")
    ),
    "a text that ends in zeros": lambda n: span(n, {"model": "ab\x00\x00"}).SerializeToString(),
    "texts that end in zeros": lambda n: span(n, {"model": f"{n % 10}\x00\x00"}).SerializeToString(),
    "a name that is no UTF-8": lambda n: span(n, name="ab").SerializeToString().replace(b"ab", b"\xff\xfe"),
    "a span too long": lambda n: span(n, {"prompt": "x" * 9000}).SerializeToString(),
    "a tag of six bytes": lambda n: span(n).SerializeToString() + b"\xd0\x80\x80\x80\x80\x00\x05",
    "field zero": lambda n: span(n).SerializeToString() + b"\x00\x00",
    "a value cut off": lambda n: span(n).SerializeToString() + b"\x1a\x09abc",
    "a varint cut off": lambda n: span(n).SerializeToString() + b"\x50\x80",
}


@pytest.mark.parametrize("odd", ODD)
def test_what_templates_do_not_know_is_left_to_protobuf(odd: str) -> None:
    assert_same(body_of([ODD[odd](number) for number in range(40)]))


def test_hopeless_spans_are_looked_at_a_few_times_only() -> None:
    templates = Templates(WANTED)
    hopeless = body_of([ODD["an attribute of another type"](number) for number in range(40)])
    asked = []
    for _ in range(6):
        WANTED.asked.clear()
        decode_protobuf(hopeless, WANTED, templates)
        asked.append(len(WANTED.asked))
    assert asked == [2, 2, 2, 1, 1, 1]  # once for all names of the batch, and once for each template that is tried


def test_structures_of_one_length_are_told_apart() -> None:
    templates = Templates(WANTED)
    servers = [span(number, kind=2).SerializeToString() for number in range(30)]
    clients = [span(number, kind=3).SerializeToString() for number in range(30)]
    for raws in (servers + clients, clients + servers, servers, clients, servers + clients[:5]):
        assert rows(body_of(raws), WANTED, templates) == rows(body_of(raws), WANTED, None)


def test_spans_with_events_that_are_wanted_fit_templates() -> None:
    events = [[Span.Event(name=name, time_unix_nano=number + at) for at, name in enumerate("abc", 1)] for number in range(40)]
    raws = [span(number, name="compute", events=events[number]).SerializeToString() for number in range(40)]
    alike, others = Templates(WANTED).sorted(raws, "scope")
    assert others == []
    (batch,) = alike_spans({}, "scope", alike)
    assert events_of(batch) == [[(event.name, event.time_unix_nano) for event in told] for told in events]


def test_any_number_of_structures_is_decoded_with_a_bounded_number_of_templates() -> None:
    templates = Templates(WANTED)
    for length in range(600):
        body = body_of([span(number, {"prompt": "x" * length}).SerializeToString() for number in range(LEAST_ROWS)])
        assert rows(body, WANTED, templates) == rows(body, WANTED, None)
    again = body_of(alike(Random(1), 40, text=3, small=2))
    assert rows(again, WANTED, templates) == rows(again, WANTED, None)


@pytest.mark.parametrize("path", sorted(CAPTURES.rglob("*.pb")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recorded_exports_of_a_real_server_are_read_alike(path: Path) -> None:
    wanted = Mapper(load_mappings("auto", {}), assembly=Assembly(), limits=Limits(), bounded=False).wanted
    assert_same(path.read_bytes(), wanted)
