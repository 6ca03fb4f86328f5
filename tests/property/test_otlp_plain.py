"""Exports that are judged one by one and decoded together say what each says by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from infermeter.errors import DecodeError
from infermeter.model import Export, Layout, SpanFilter
from infermeter.otlp.plain import SMALL_BYTES, Plain
from infermeter.otlp.protobuf import decode_protobuf
from property.test_otlp_templates import KEYS, ODD, alike, body_of
from support.span_rows import rows
from unit.otlp.exports import Wanted, body, request, span

CAPTURES = Path(__file__).parents[1] / "captures"
WANTED = Wanted(
    {"llm_request": Layout(KEYS, events=False), "compute": Layout(KEYS[:1], events=True)}, resource_keys=("service.name", "replica")
)


def alone(sent: bytes, wanted: SpanFilter) -> Export | None:
    """What the export is by itself; None: it is refused."""
    try:
        return decode_protobuf(sent, wanted)
    except DecodeError:
        return None


def assert_same(bodies: Sequence[bytes], wanted: SpanFilter = WANTED, times: int = 2) -> int:
    """What is judged is judged as it would be decoded, and decoded together as by itself; how many were judged the first time."""
    plain = Plain(wanted)
    counts = []
    for _ in range(times):
        judged = []
        expected: list[object] = []
        for sent in bodies:
            export, checked = alone(sent, wanted), plain.checked(sent)
            if checked is not None:
                assert export is not None
                assert checked == (export.spans, export.malformed, export.outermost)
                expected += [row for batch in export.batches for row in rows(batch)]
                judged.append(sent)
        told = [row for batch in plain.batches(judged) for row in rows(batch)]
        assert sorted(told, key=repr) == sorted(expected, key=repr)
        counts.append(len(judged))
    return counts[0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=4),
)
def test_exports_of_a_few_structures_are_read_alike(seed: int, kinds: list[tuple[int, int, int, int]]) -> None:
    random = Random(seed)
    raws = [raw for count, text, small, events in kinds for raw in alike(random, count, text=text, small=small, events=events)]
    random.shuffle(raws)
    size = random.choice((1, 3, len(raws)))
    bodies = [body_of(raws[at : at + size]) for at in range(0, len(raws), size)]
    assert assert_same(bodies) == len(bodies)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), damaged=st.integers(1, 40))
def test_what_is_damaged_is_judged_as_it_is_decoded_or_not_at_all(seed: int, damaged: int) -> None:
    random = Random(seed)
    bodies = [bytearray(body_of(alike(random, 2, text=3, small=2, events=2 * (n % 2)))) for n in range(40)]
    for sent in bodies[:damaged]:
        sent[random.randrange(len(sent))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    assert assert_same([bytes(sent) for sent in bodies], times=1) >= 40 - damaged


@pytest.mark.parametrize("odd", ODD)
def test_odd_spans_are_read_alike_among_usual_ones(odd: str) -> None:
    assert_same([body_of([ODD[odd](n)]) for n in range(20)] + [body_of([span(n).SerializeToString()]) for n in range(20)])


def test_spans_of_one_server_are_pooled_whatever_else_is_told_of_it_and_those_of_different_servers_are_not() -> None:
    names: tuple[str | int | bool | float | AnyValue, ...] = ("chat", "1", 1, True, 1.0, AnyValue())
    told = [{"service.name": name, "service.instance.id": f"{n}"} for name in names for n in range(2)]
    bodies = [body(span(n), resource=resource, scope=scope) for n, resource in enumerate(told) for scope in ("a", "b")]
    assert assert_same([*bodies, body(span(99))]) == len(bodies) + 1
    assert len(Plain(WANTED).batches([*bodies, body(span(99))])) == 2 * len(names) + 1


def test_a_resource_and_a_scope_in_two_parts_are_one() -> None:
    first, second = (request(span(n), resource={"service.name": "a", key: "b"}, scope="") for n, key in enumerate(("replica", "other")))
    first.resource_spans[0].scope_spans[0].scope.version = "1"
    merged = first.resource_spans[0].SerializeToString() + second.resource_spans[0].SerializeToString()
    scoped = first.resource_spans[0].scope_spans[0].SerializeToString() + b"\x0a\x03\x0a\x01x"
    part = ExportTraceServiceRequest.FromString(first.SerializeToString())
    part.resource_spans[0].scope_spans.clear()
    by_hand = part.resource_spans[0].SerializeToString() + b"\x12" + _length(scoped) + scoped
    bodies = [b"\x0a" + _length(raw) + raw for raw in (merged, by_hand)]
    assert assert_same(bodies) == 2


def _length(raw: bytes) -> bytes:
    return bytes([len(raw)]) if len(raw) < 0x80 else bytes([len(raw) & 0x7F | 0x80, len(raw) >> 7])


@pytest.mark.parametrize("sent", [b"", body(), b"\x0c", body(span())[:-1], body(span(1, {"x": "y" * SMALL_BYTES}))])
def test_what_is_empty_damaged_or_large_is_not_judged(sent: bytes) -> None:
    assert Plain(WANTED).checked(sent) is None


def test_an_unwanted_value_that_is_damaged_is_left_to_who_decodes() -> None:
    sent = body(span(attributes={"other": "value"})).replace(b"\x0a\x05value", b"\x0a\x7fvalue")
    assert alone(sent, WANTED) is not None
    assert Plain(WANTED).checked(sent) is None


@pytest.mark.parametrize("path", sorted(CAPTURES.rglob("*.pb")), ids=lambda path: path.name)
def test_recorded_exports_are_read_alike(path: Path) -> None:
    assert_same([path.read_bytes()])
