"""The OTLP listener over gRPC, attacked over a bare socket; what it really answers, and counts, is asserted."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from infermeter.config import Limits
from infermeter.otlp import grpc_frames as h2
from infermeter.otlp.grpc import GrpcReceiver
from infermeter.otlp.grpc_frames import Code, frame
from infermeter.otlp.grpc_session import STREAMS_MOST
from infermeter.otlp.receiver import Receiver
from security.attacking import HEADER_SECONDS, SOON_SECONDS, Senders, sent, until_closed
from unit.otlp.calls import GREETING, TRACES, Client, head, message
from unit.otlp.exports import body, span, wants

PATH = b"\x83\x86\x44" + bytes((len(TRACES),)) + TRACES.encode() + b"\x5f\x10application/grpc"
KNOWN = b"\x83\x86\xbf\xbe"
"""The same fields, once they were told."""

BEGUN = GREETING + frame(h2.HEADERS, h2.END_HEADERS, 1, PATH)
FLOOD = 20_000


@asynccontextmanager
async def grpc_port(limits: Limits | None = None) -> AsyncIterator[Senders]:
    """Listens with little patience."""
    receiver = Receiver(wants("a"), (exports := []).append, limits or Limits(request_time=HEADER_SECONDS), overloaded=lambda: False)
    grpc = GrpcReceiver(receiver)
    port = await grpc.start("127.0.0.1:0")
    try:
        yield Senders(port, receiver, exports)
    finally:
        await grpc.stop()


def reasons(senders: Senders) -> dict[str, int]:
    return {reason: count for (_, reason), count in senders.receiver.exports_refused.items()}


async def honest(port: int, number: int) -> int | None:
    """The status of an honest export on a connection of its own."""
    client = Client()
    stream = client.call(message(body(span(number))))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(SOON_SECONDS):
        writer.write(client.unsent())
        while not client.told[stream].is_whole:
            client.hear(await reader.read(65_536))
    writer.transport.abort()
    return client.told[stream].status


def attacked(*parts: bytes, limits: Limits | None = None) -> tuple[Code | None, dict[str, int]]:
    """Why the connection was ended over these bytes, and what was counted by reason; an honest export is taken after them."""

    async def run() -> tuple[Code | None, dict[str, int]]:
        async with grpc_port(limits) as senders:
            answer = (await sent(senders.port, *parts)).data
            refused = reasons(senders)
            assert await honest(senders.port, 1) == 0
            assert len(senders.exports) == 1
            return goodbye(answer), refused

    return asyncio.run(run())


def goodbye(answer: bytes) -> Code | None:
    """What the last frame says, if it is a goodbye."""
    is_one = answer[-17:-12] == h2.HEAD.pack(0, 8, h2.GOAWAY, 0, 0)[:5]
    return Code(int.from_bytes(answer[-4:], "big")) if is_one else None


@pytest.mark.parametrize(
    ("flood", "refused"),
    [
        ([frame(h2.HEADERS, 0, 1, PATH), *[frame(h2.CONTINUATION, 0, 1, b"\0\1x\1y")] * FLOOD], 1),
        ([frame(h2.HEADERS, 0, 1, PATH), *[frame(h2.CONTINUATION, 0, 1)] * FLOOD], 1),
        ([frame(h2.PING, 0, 0, bytes(8))] * FLOOD, 1),
        ([h2.settings({h2.INITIAL_WINDOW_SIZE: 0})] * FLOOD, 1),
        ([frame(h2.SETTINGS, h2.ACK, 0)] * FLOOD, 1),
        ([frame(h2.PRIORITY, 0, 2**31 - 1, bytes(5))] * FLOOD, 1),
        ([frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[frame(h2.DATA, 0, 1)] * FLOOD], 1),
        ([frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[frame(h2.DATA, h2.PADDED, 1, b"\xff" + bytes(255))] * FLOOD], 1),
        ([frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[h2.window_update(0, 1)] * FLOOD], 1),
        ([frame(0xAB, 0, 0, bytes(9))] * FLOOD, 1),
    ],
    ids=["fields", "empty fields", "pings", "windows of nought", "acks", "priorities", "empty content", "padding", "windows", "unknown"],
)
def test_a_flood_of_frames_that_bring_nothing_on_ends_its_connection(flood: list[bytes], refused: int) -> None:
    assert attacked(GREETING, b"".join(flood)) == (Code.ENHANCE_YOUR_CALM, {"malformed": refused})


def test_calls_that_are_broken_off_at_once_end_their_connection() -> None:
    pairs = [frame(h2.HEADERS, h2.END_HEADERS, 1, PATH)]
    pairs += [frame(h2.HEADERS, h2.END_HEADERS, n, KNOWN) + h2.reset(n - 2, Code.NO_ERROR) for n in range(3, FLOOD, 2)]
    why, refused = attacked(GREETING, b"".join(pairs))
    assert why is Code.ENHANCE_YOUR_CALM
    assert 500 < refused["malformed"] < 1000


def test_calls_that_are_begun_and_left_are_bounded_at_once_and_in_time() -> None:
    calls = [frame(h2.HEADERS, h2.END_HEADERS, 1, PATH), *[frame(h2.HEADERS, h2.END_HEADERS, n, KNOWN) for n in range(3, 801, 2)]]

    async def run() -> None:
        async with grpc_port() as senders:
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            writer.write(GREETING + b"".join(calls))
            async with asyncio.timeout(SOON_SECONDS):
                while reasons(senders) != {"overload": 400 - STREAMS_MOST, "malformed": STREAMS_MOST}:
                    await reader.read(65_536)
            assert await honest(senders.port, 1) == 0
            writer.transport.abort()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000 + b"\xbe" * 4000, Code.COMPRESSION_ERROR),
        (b"\0\1x\1y" * 1600, Code.COMPRESSION_ERROR),
        (b"\x83" + b"\0\x01a\xff\x80\x80\x80\x80\x80\x80\x80\x01", Code.COMPRESSION_ERROR),
        (b"\x3f\xff\xff\xff\x07", Code.COMPRESSION_ERROR),
        (b"\x83" * 9000, Code.ENHANCE_YOUR_CALM),
        (PATH + b"\0\x11transfer-encoding\x07chunked", Code.PROTOCOL_ERROR),
        (PATH + b"\0\1a\x0ab\r\nHost: c", Code.PROTOCOL_ERROR),
        (PATH + PATH, Code.PROTOCOL_ERROR),
    ],
    ids=["bomb", "many", "endless number", "large table", "long", "another framing", "lines", "twice"],
)
def test_fields_that_would_cost_much_or_say_two_things_end_the_connection(block: bytes, why: Code) -> None:
    assert attacked(GREETING + frame(h2.HEADERS, h2.END_HEADERS, 1, block)) == (why, {"malformed": 1})


@pytest.mark.parametrize(
    "data",
    [
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        bytes(100),
        h2.PREFACE + bytes(100),
    ],
    ids=["HTTP/1.1", "TLS", "zeros", "no settings"],
)
def test_what_is_another_protocol_is_refused(data: bytes) -> None:
    assert attacked(data) == (Code.PROTOCOL_ERROR, {"malformed": 1})


@pytest.mark.parametrize(
    "content",
    [
        h2.HEAD.pack(0x1000, 0, h2.DATA, 0, 1),
        h2.HEAD.pack(0xFFFF, 0xFF, h2.DATA, 0, 1),
        h2.HEAD.pack(0xFFFF, 0xFF, h2.HEADERS, 0, 3),
    ],
    ids=["a frame of 1 MB", "a frame of 16 MB", "fields of 16 MB"],
)
def test_who_sends_more_than_there_is_room_for_loses_the_connection(content: bytes) -> None:
    limits = Limits(body_bytes=100_000, request_time=SOON_SECONDS)
    why, refused = attacked(BEGUN + content, limits=limits)
    assert why in {Code.FLOW_CONTROL_ERROR, Code.FRAME_SIZE_ERROR}
    assert refused == {"malformed": 1}


def status_of(content: bytes, *fields: tuple[str, str], limits: Limits) -> tuple[int, dict[str, int]]:
    """What one call of an honest client with this content is answered, and what was counted."""

    async def run() -> tuple[int, dict[str, int]]:
        async with grpc_port(limits) as senders:
            client = Client()
            stream = client.call(content, head(TRACES, *fields))
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            writer.write(client.unsent())
            async with asyncio.timeout(SOON_SECONDS):
                while not client.told[stream].is_whole:
                    client.hear(await reader.read(65_536))
            writer.transport.abort()
            assert await honest(senders.port, 1) == 0
            return client.told[stream].status, reasons(senders)

    return asyncio.run(run())


def test_a_bomb_is_never_unpacked_further_than_its_limit() -> None:
    limits = Limits(body_bytes=1 << 20, decompressed_bytes=1 << 20, request_time=SOON_SECONDS)
    bomb = message(gzip.compress(bytes(32 << 20)), is_packed=True)
    assert status_of(bomb, ("grpc-encoding", "gzip"), limits=limits) == (8, {"too_large": 1})


def test_a_message_that_claims_to_be_huge_is_refused_before_it_is_sent() -> None:
    assert status_of(b"\0\xff\xff\xff\xff", limits=Limits(request_time=SOON_SECONDS)) == (8, {"too_large": 1})


def test_who_makes_no_room_for_answers_keeps_nobody_waiting() -> None:
    async def run() -> None:
        async with grpc_port() as senders:
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            writer.write(GREETING + h2.settings({h2.INITIAL_WINDOW_SIZE: 0}) + frame(h2.HEADERS, h2.END_HEADERS, 1, PATH))
            writer.write(frame(h2.DATA, h2.END_STREAM, 1, message(body(span(1)))))
            for n in range(3, 101, 2):
                writer.write(frame(h2.HEADERS, h2.END_HEADERS, n, KNOWN) + frame(h2.DATA, h2.END_STREAM, n, message(body(span(n)))))
            async with asyncio.timeout(SOON_SECONDS):
                while reasons(senders) != {"overload": 50 - STREAMS_MOST}:
                    await reader.read(65_536)
            assert await honest(senders.port, 1000) == 0
            assert len(senders.exports) == STREAMS_MOST + 1
            writer.transport.abort()

    asyncio.run(run())


@pytest.mark.parametrize("said", [h2.PREFACE[:9], GREETING + b"\0", BEGUN + frame(h2.DATA, 0, 1, message(bytes(99)))[:30]])
def test_what_drips_is_cut_off_at_a_bound_of_all_of_it_and_counted(said: bytes) -> None:
    async def run() -> None:
        async with grpc_port() as senders:
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            writer.write(said)
            assert goodbye(await until_closed(reader)) is Code.NO_ERROR
            assert reasons(senders) == {"malformed": 1}
            writer.transport.abort()

    asyncio.run(run())


def test_connections_beyond_the_limit_are_turned_away_and_counted_until_another_leaves() -> None:
    async def run() -> None:
        async with grpc_port(Limits(connections=2)) as senders:
            two = [await asyncio.open_connection("127.0.0.1", senders.port) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", senders.port)
            assert goodbye(await until_closed(reader)) is Code.NO_ERROR
            assert reasons(senders) == {"overload": 1}
            writer.transport.abort()
            two[0][1].write(b"no HTTP/2")
            assert goodbye(await until_closed(two[0][0])) is Code.PROTOCOL_ERROR
            two[0][1].transport.abort()
            await asyncio.sleep(0)
            assert await honest(senders.port, 1) == 0
            two[1][1].transport.abort()

    asyncio.run(run())
