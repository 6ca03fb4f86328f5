"""Exports of spans: what protobuf, templates and the kernel read is the same, and nothing but a DecodeError refuses anything."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from itertools import chain

from google.protobuf.message import DecodeError as WireError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infermeter.errors import DecodeError, TooLarge
from infermeter.model import Export, Layout
from infermeter.otlp.columns import Outline
from infermeter.otlp.inflate import MEMBERS, gunzip
from infermeter.otlp.json import decode_any_json, decode_json, outlined_json
from infermeter.otlp.kernel import Kernel
from infermeter.otlp.messages import RAW_EXPORT_REQUEST
from infermeter.otlp.protobuf import decode_protobuf, outlined_protobuf
from infermeter.otlp.templates import LEAST_ROWS, Templates
from support.compiled_kernel import library
from support.span_rows import rows
from unit.otlp.exports import Wanted

KEYS = ("gen_ai.usage.prompt_tokens", "gen_ai.latency.e2e", "gen_ai.request.id", "model", "tokens", "seconds")
WANTED = Wanted(
    {"llm_request": Layout(KEYS, events=False), "compute": Layout(KEYS[:1], events=True), "InferRequest": Layout(KEYS, events=True)},
    resource_keys=("service.name",),
)
UNPACKED_MOST = 1 << 18


def protobuf(data: bytes) -> None:
    """The first byte says whether the others are an export, or a span that is there many times with some bytes of some changed."""
    body = data[1:] if data[:1] != b"*" else alike(data[1:])
    plain = told(lambda: decode_protobuf(body, WANTED))
    templates = Templates(WANTED)
    for _ in range(2):
        assert told(lambda: decode_protobuf(body, WANTED, templates)) == plain
    kernel = Kernel(library(), WANTED)
    for _ in range(2):
        if (checked := kernel.checked(body)) is not None:
            assert told(lambda checked=checked: Export(tuple(kernel.batches([body])), *checked)) == plain
    try:
        published = ExportTraceServiceRequest.FromString(body)
    except WireError:
        return
    spans = sum(len(scope.spans) for resource in published.resource_spans for scope in resource.scope_spans)
    assert plain is not None
    assert plain[0] == spans
    assert_outlined(list(outlined_protobuf(body)), spans)


def alike(data: bytes) -> bytes:
    """An export of spans of one length: how many changes, then row, two bytes of offset, and byte of each, then the span."""
    changes = data[0] % 8 if data else 0
    span = data[1 + 4 * changes :]
    spans = [bytearray(span) for _ in range(LEAST_ROWS + 4)]
    for i in range(changes if span else 0):
        row, high, low, byte = data[1 + 4 * i : 5 + 4 * i]
        spans[row % len(spans)][(high << 8 | low) % len(span)] = byte
    return bytes(RAW_EXPORT_REQUEST(resource_spans=[{"scope_spans": [{"spans": map(bytes, spans)}]}]).SerializeToString())


def json(data: bytes) -> None:
    """An export in JSON: what is read together is what is read span by span, and what one parser refuses the other doesn't take."""
    plain = told(lambda: decode_any_json(data, WANTED))
    assert told(lambda: decode_json(data, WANTED)) == plain
    if plain is not None:
        with suppress(DecodeError):  # it looks at attributes and events that nobody wanted
            assert_outlined(list(outlined_json(data)), plain[0])


def packed(data: bytes) -> None:
    """The first byte says whether the others are gzip, or the members' lengths and contents."""
    if data[:1] != b"*":
        try:
            unpacked = gunzip(data[1:], UNPACKED_MOST)
        except DecodeError:
            return
        assert len(unpacked) <= UNPACKED_MOST
        assert gzip.decompress(data[1:]) == unpacked
        return
    members = data[2:].split(data[1:2]) if len(data) > 1 else [b""]
    repeated = [member * 997 if i == 0 else member for i, member in enumerate(members)]
    body = b"".join(gzip.compress(member, 1, mtime=0) for member in repeated)
    whole = b"".join(repeated)
    try:
        assert gunzip(body, UNPACKED_MOST) == whole
    except TooLarge:
        assert len(whole) > UNPACKED_MOST or len(members) > MEMBERS


def told(read: Callable[[], Export]) -> tuple[int, int, tuple[bytes, bytes], list[str]] | None:
    """What an export says, comparable; None: it is refused."""
    try:
        export = read()
    except DecodeError:
        return None
    spans = sorted(map(repr, chain.from_iterable(rows(batch) for batch in export.batches)))
    assert len(spans) + export.malformed == export.spans
    return export.spans, export.malformed, export.outermost, spans


def assert_outlined(outlines: list[Outline], spans: int) -> None:
    assert len(outlines) == spans
