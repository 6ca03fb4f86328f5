"""What the kernel takes it reads as protobuf's own parser does; what that refuses the kernel doesn't take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from random import Random

import pytest
from bench.bodies import bodies
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infermeter.config import Assembly, Limits
from infermeter.errors import DecodeError
from infermeter.mapping import Mapper, load_mappings
from infermeter.model import Export, SpanBatch, SpanFilter
from infermeter.otlp.kernel import Kernel
from infermeter.otlp.protobuf import decode_protobuf
from property.test_otlp_encodings import WANTED as WANTED_OF_REQUESTS
from property.test_otlp_encodings import requests
from property.test_otlp_templates import ODD, WANTED, alike, body_of
from support.compiled_kernel import library
from support.span_rows import rows
from unit.otlp.exports import span

CAPTURES = Path(__file__).parents[1] / "captures"
CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "otlp_protobuf"


def all_rows(batches: Sequence[SpanBatch]) -> list[str]:
    """The spans of batches in an order of their own."""
    return sorted(map(repr, chain.from_iterable(map(rows, batches))))


def decoded(body: bytes, wanted: SpanFilter) -> Export | None:
    try:
        return decode_protobuf(body, wanted)
    except DecodeError:
        return None


def assert_same(sent: Sequence[bytes], wanted: SpanFilter, kernel: Kernel | None = None) -> int:
    """How many of the bodies the kernel took; of each it says what protobuf says, and of all together what protobuf says of each."""
    kernel = kernel or Kernel(library(), wanted)
    taken: list[bytes] = []
    told: list[SpanBatch] = []
    for body in sent:
        if (checked := kernel.checked(body)) is not None:
            plain = decoded(body, wanted)
            assert plain is not None
            assert checked == (plain.spans, plain.malformed, plain.outermost)
            assert all_rows(kernel.batches([body])) == all_rows(plain.batches)
            taken.append(body)
            told += plain.batches
    assert all_rows(kernel.batches(taken)) == all_rows(told)
    return len(taken)


@settings(max_examples=50, deadline=None)
@given(sent=st.lists(requests, max_size=2))
def test_any_exports_are_read_alike(sent: list[ExportTraceServiceRequest]) -> None:
    assert_same([request.SerializeToString() for request in sent], WANTED_OF_REQUESTS)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 40), st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=4),
)
def test_spans_of_a_few_structures_are_taken_and_read_alike(seed: int, kinds: list[tuple[int, int, int, int]]) -> None:
    random = Random(seed)
    raws = [raw for count, text, small, events in kinds for raw in alike(random, count, text=text, small=small, events=events)]
    random.shuffle(raws)
    cut = random.randrange(len(raws) + 1)
    assert assert_same([body_of(raws), body_of(raws[:cut]), body_of(raws[cut:])], WANTED) == 3


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), damaged=st.integers(1, 4), events=st.sampled_from([0, 2]))
def test_damage_is_never_taken_for_something_else(seed: int, damaged: int, events: int) -> None:
    random = Random(seed)
    kernel = Kernel(library(), WANTED)
    sent = []
    for raw in alike(random, 8, text=9, small=2, events=events):
        body = bytearray(body_of([raw, raw]))
        for _ in range(damaged):
            body[random.randrange(len(body))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        cut = random.choice((len(body), random.randrange(len(body))))
        sent += [body_of([raw]), bytes(body), bytes(body[:cut])]
    assert assert_same(sent, WANTED, kernel) >= 8


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.integers(0, 400), byte=st.integers(0, 255), events=st.sampled_from([0, 2]))
def test_one_other_byte_after_many_spans_is_seen(seed: int, at: int, byte: int, events: int) -> None:
    """The kernel expects attributes where the last span had them."""
    raws = alike(Random(seed), 6, text=2, small=1, events=events)
    odd = bytearray(raws[-1])
    odd[at % len(odd)] = byte
    assert_same([body_of(raws), body_of([*raws[:-1], bytes(odd)])], WANTED)


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_read_alike_or_left_to_protobuf(odd: str) -> None:
    assert_same([body_of([ODD[odd](number) for number in range(40)])], WANTED)


@settings(max_examples=100, deadline=None)
@given(raw=st.binary(max_size=120))
def test_random_bytes_are_read_alike_or_left_to_protobuf(raw: bytes) -> None:
    assert_same([raw, body_of([raw])], WANTED)


@pytest.mark.parametrize("place", ["key", "value", "name", "scope", "event"])
@settings(max_examples=60, deadline=None)
@given(text=st.binary(max_size=40) | st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_text_is_taken_if_it_is_utf8_and_only_then(place: str, text: bytes) -> None:
    """Also where it is odd: half a pair, longer than it must be, beyond the last, cut off."""
    is_text = True
    try:
        text.decode()
    except UnicodeDecodeError:
        is_text = False
    told = {"key": b"model", "value": b"value", "name": b"llm_request", "scope": b"scope", "event": b"event"} | {place: text}

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content) & 0x7F | 0x80, len(content) >> 7]) + content

    sent = field(1, bytes(range(16))) + field(2, bytes(range(8))) + field(5, told["name"])
    sent += b"\x39" + (5).to_bytes(8, "little") + b"\x41" + (6).to_bytes(8, "little")
    sent += field(9, field(1, told["key"]) + field(2, field(1, told["value"]))) + field(11, field(2, told["event"]))
    body = field(1, field(2, field(1, field(1, told["scope"])) + field(2, sent)))
    assert assert_same([body], WANTED) == is_text


@pytest.mark.parametrize(
    "encoded", [b"\xf0\x82\x82\xac", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf8\x88\x80\x80\x80", b"\x80"]
)
@pytest.mark.parametrize("before", [0, 3, 8, 40])
def test_what_only_looks_like_utf8_is_left_to_protobuf(encoded: bytes, before: int) -> None:
    value = b"x" * before + encoded + b"\x80" * 2
    assert assert_same([body_of([span(1, {"model": "v" * len(value)}).SerializeToString().replace(b"v" * len(value), value)])], WANTED) == 0


@pytest.mark.parametrize("path", sorted(CAPTURES.rglob("*.pb")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recorded_exports_of_real_servers_are_taken_and_read_alike(path: Path) -> None:
    wanted = Mapper(load_mappings("auto", {}), assembly=Assembly(), limits=Limits(), bounded=False).wanted
    assert assert_same([path.read_bytes()] * 2, wanted) == 2


@pytest.mark.parametrize("kind", ["auto", "own"])
@pytest.mark.parametrize(("shape", "spans"), [("vllm", 64), ("vllm", 1), ("triton", 60)])
def test_exports_of_many_instances_are_taken_and_read_alike(shape: str, spans: int, kind: str) -> None:
    wanted = Mapper(load_mappings(shape if kind == "own" else kind, {}), assembly=Assembly(), limits=Limits(), bounded=False).wanted
    sent = [body.with_ids_of(number.to_bytes(4, "big")) for number, body in enumerate(bodies(shape, "protobuf", spans, count=9), 1)]
    assert assert_same(sent, wanted) == 9


def test_the_committed_inputs_of_the_fuzzer_are_read_alike() -> None:
    assert assert_same([path.read_bytes()[1:] for path in sorted(CORPUS.iterdir())], WANTED) > 0
