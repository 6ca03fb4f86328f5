"""The OTLP listener over gRPC, attacked over a bare socket with what HTTP/2 makes possible: what it really answers, and counts."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator

import grpc
import pytest

from fuzz.http2 import GOAWAY, HEAD, HEADERS, PREFACE, RST_STREAM, SETTINGS, SETTINGS_FRAME
from infermeter.config import Limits
from infermeter.otlp.grpc import GrpcReceiver
from security.attacking import HEADER_SECONDS, SOON_SECONDS, Senders, otlp_port, sent, until_closed
from unit.otlp.exports import body, span

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
CONTINUATION, PING, PUSH_PROMISE = 9, 6, 5
END_STREAM, END_HEADERS = 0x1, 0x4
PROTOCOL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 1, 6, 9, 11
GREETED = PREFACE + SETTINGS_FRAME
POST = b"\x83\x86"
"""Of the static table: `:method POST`, `:scheme http`."""


def frame(kind: int, flags: int, stream: int, held: bytes = b"") -> bytes:
    return HEAD.pack(len(held) >> 16, len(held) & 0xFFFF, kind, flags, stream) + held


def literal(name: bytes, value: bytes) -> bytes:
    """A field that isn't remembered."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


CALL = POST + literal(b":path", EXPORT.encode()) + literal(b"content-type", b"application/grpc")


def answered(*parts: bytes, limits: Limits | None = None) -> tuple[int | None, dict[str, int]]:
    """With what code the connection is ended (None: without any), and what was counted by reason; an honest export is taken after it."""

    async def run() -> tuple[int | None, dict[str, int]]:
        async with otlp_port(limits, transport=GrpcReceiver) as senders:
            code = goodbye((await sent(senders.port, *parts)).data)
            refused = senders.refused
            await takes_an_export(senders)
            return code, refused

    return asyncio.run(run())


async def takes_an_export(senders: Senders, message: bytes = body(span())) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{senders.port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        await channel.unary_unary(EXPORT)(message, timeout=SOON_SECONDS)


def goodbye(data: bytes) -> int | None:
    codes = [int.from_bytes(held[4:8], "big") for kind, held in frames(data) if kind == GOAWAY]
    return codes[-1] if codes else None


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + HEAD.size <= len(data):
        high, low, kind, _, _ = HEAD.unpack_from(data, at)
        at += HEAD.size
        yield kind, data[at : at + (high << 16 | low)]
        at += high << 16 | low


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        bytes(100),
        PREFACE + frame(HEADERS, END_HEADERS, 1, CALL),
    ],
    ids=["HTTP/1.1", "an upgrade", "TLS", "zeros", "no settings"],
)
def test_what_is_another_protocol_is_refused(data: bytes) -> None:
    assert answered(data) == (PROTOCOL_ERROR, {"malformed": 1})


def test_calls_that_are_broken_off_at_once_and_for_ever_end_the_connection_long_before() -> None:
    """Source: CVE-2023-44487, rapid reset."""
    calls = [frame(HEADERS, END_HEADERS, stream, CALL) + frame(RST_STREAM, 0, stream, bytes(4)) for stream in range(1, 20_001, 2)]
    code, refused = answered(GREETED, b"".join(calls))
    assert code == ENHANCE_YOUR_CALM
    assert refused["malformed"] < 1000


def test_fields_that_never_end_end_the_connection() -> None:
    """Source: CVE-2024-27316 and others, continuation flood."""
    flood = frame(HEADERS, 0, 1, CALL) + frame(CONTINUATION, 0, 1, literal(b"a", b"b")) * 10_000
    assert answered(GREETED, flood) == (ENHANCE_YOUR_CALM, {"malformed": 1})


def test_a_field_that_is_told_once_and_referred_to_thousands_of_times_is_not_unpacked_further_than_its_limit() -> None:
    """Source: CVE-2016-6581, HPACK bomb."""
    told = b"\x40\x01a" + b"\x7f" + bytes(((4000 - 127) & 0x7F | 0x80, (4000 - 127) >> 7)) + b"b" * 4000
    bomb = frame(HEADERS, END_HEADERS, 1, CALL + told + b"\xbe" * 4000)
    assert answered(GREETED, bomb) == (COMPRESSION_ERROR, {"malformed": 1})


@pytest.mark.parametrize(
    "one",
    [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 0, 0), frame(8, 0, 0, b"\0\0\0\1"), frame(0xBB, 0, 0, b"what")],
    ids=["pings", "settings", "windows", "unknown"],
)
def test_a_flood_of_what_leads_nowhere_ends_the_connection(one: bytes) -> None:
    assert answered(GREETED, one * 5000) == (ENHANCE_YOUR_CALM, {"malformed": 1})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HEAD.pack(0xFF, 0xFFFF, HEADERS, END_HEADERS, 1), FRAME_SIZE_ERROR),
        (HEAD.pack(0xFF, 0xFFFF, PING, 0, 0), FRAME_SIZE_ERROR),
        (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 2, CALL), PROTOCOL_ERROR),
        (frame(CONTINUATION, END_HEADERS, 1, CALL), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    ],
    ids=["a huge head", "a huge ping", "a promise", "an even stream", "going on with nothing", "a number too large"],
)
def test_a_broken_rule_ends_the_connection_before_what_it_claims_was_sent(data: bytes, code: int) -> None:
    assert answered(GREETED, data, limits=Limits(request_time=SOON_SECONDS)) == (code, {"malformed": 1})


@pytest.mark.parametrize(
    "field",
    [
        literal(b"transfer-encoding", b"chunked"),
        literal(b"connection", b"close"),
        literal(b"Upper", b"case"),
        literal(b"a", b"b\r\nc: d"),
        literal(b"a", b"b\0"),
        literal(b"a b", b"c"),
        literal(b"", b"c"),
        literal(b":path", b"/other"),
        literal(b":status", b"200"),
    ],
)
def test_fields_that_another_protocol_would_read_otherwise_end_the_connection(field: bytes) -> None:
    assert answered(GREETED, frame(HEADERS, END_HEADERS, 1, CALL + field)) == (PROTOCOL_ERROR, {"malformed": 1})


def test_a_bomb_is_never_unpacked_further_than_its_limit() -> None:
    async def run() -> None:
        limits = Limits(body_bytes=1 << 20, decompressed_bytes=1 << 20, request_time=SOON_SECONDS)
        async with otlp_port(limits, transport=GrpcReceiver) as senders:
            bomb = gzip.compress(bytes(64 << 20))
            head = frame(HEADERS, END_HEADERS, 1, CALL + literal(b"grpc-encoding", b"gzip"))
            message = b"\1" + len(bomb).to_bytes(4, "big") + bomb
            data = [frame(0, 0, 1, message[at : at + 16_384]) for at in range(0, len(message), 16_384)]
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            writer.write(GREETED + head + b"".join(data) + frame(0, END_STREAM, 1))
            while not senders.refused:
                assert await asyncio.wait_for(reader.read(65_536), SOON_SECONDS)
            assert senders.refused == {"too_large": 1}
            writer.transport.abort()
            await takes_an_export(senders)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("whole", "dripping"),
    [
        (b"", PREFACE),
        (GREETED, frame(HEADERS, END_HEADERS, 1, CALL)),
        (GREETED + frame(HEADERS, 0, 1, CALL), frame(CONTINUATION, 0, 1, CALL)),
    ],
    ids=["preface", "head", "going on"],
)
def test_what_drips_is_cut_off_at_a_bound_of_all_of_it_and_counted(whole: bytes, dripping: bytes) -> None:
    async def run() -> None:
        async with otlp_port(transport=GrpcReceiver) as senders:
            loop = asyncio.get_running_loop()
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            began = loop.time()
            closed = asyncio.create_task(until_closed(reader))
            writer.write(whole)
            for byte in dripping:
                if closed.done() or senders.refused or loop.time() - began > SOON_SECONDS:
                    break
                writer.write(bytes([byte]))
                await asyncio.wait((closed,), timeout=HEADER_SECONDS / 10)
            assert HEADER_SECONDS * 0.5 < loop.time() - began < SOON_SECONDS
            assert senders.refused == {"malformed": 1}
            writer.transport.abort()
            await closed
            await takes_an_export(senders)

    asyncio.run(run())


def test_connections_that_say_nothing_are_bounded_and_cut_off() -> None:
    async def run() -> None:
        limits = Limits(request_time=HEADER_SECONDS, connections=8)
        async with otlp_port(limits, transport=GrpcReceiver) as senders:
            idle = [await asyncio.open_connection("127.0.0.1", senders.port) for _ in range(8)]
            assert goodbye((await sent(senders.port, GREETED)).data) == 0
            assert senders.refused == {"overload": 1}
            for reader, writer in idle:
                await until_closed(reader)
                writer.close()
            await takes_an_export(senders)

    asyncio.run(run())
